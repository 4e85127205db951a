"""Show a model on a web page: ``python tools/demo.py CONFIG CHECKPOINT``, then open http://127.0.0.1:7860.

Upload a picture, see the scores or the boxes, and how many training images each class had. The page is for this
machine alone; --host 0.0.0.0 opens it to the network, without a password. Needs the extra demo.
"""

import ltmm  # noqa: F401  (registers scope 'ltmm' before the config is read)
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import read_config
from ltmm.utils.environment import check_extra
from ltmm.utils.parsers import model_parser


def main() -> None:
    parser = model_parser(__doc__)
    parser.add_argument('--top-k', type=int, help='classes to show (5), for models with one label per image')
    parser.add_argument('--threshold', type=float, help='lowest score: of several labels (0.5), of boxes (0.3)')
    parser.add_argument('--host', default='127.0.0.1', help='address to listen on (127.0.0.1: this machine alone)')
    parser.add_argument('--port', type=int, default=7860, help='port (7860)')
    args = parser.parse_args()
    check_extra('demo', 'gradio')
    cfg = read_config(args)

    from ltmm.apis.demo import MAX_FILE_SIZE, build_page  # slow to import
    from ltmm.apis.trained_model import load_trained_model

    trained = load_trained_model(cfg, args.checkpoint, args.device)
    options = {key: getattr(args, key) for key in ('top_k', 'threshold') if getattr(args, key) is not None}
    page = build_page(trained, 'ltmm', args.size, **options)
    page.launch(server_name=args.host, server_port=args.port, share=False, max_file_size=MAX_FILE_SIZE)


if __name__ == '__main__':
    with one_line_errors():
        main()

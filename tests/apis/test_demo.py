"""The web page of tools/demo.py, in a browser."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image
from toy_processes import free_port
from toy_trained import NAMES, save_classifier, save_detector, write_image

from ltmm.apis import demo
from ltmm.apis.demo import build_page, predict_file
from ltmm.apis.predictions import predictions_of
from ltmm.apis.trained_model import TrainedModel, load_trained_model
from ltmm.utils.errors import InputError

OPTIONS = (
    *('--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--window-size=1200,800'),
    *('--disable-background-networking', '--disable-component-update', '--disable-sync'),
)


def load(files: tuple[Path, Path]) -> TrainedModel:
    config, checkpoint = files
    return load_trained_model(Config.fromfile(config), str(checkpoint), 'cpu')


def test_answer(tmp_path: Path):
    predictions = predictions_of(load(save_classifier(tmp_path)), top_k=2)
    scores, rows, drawn = predict_file(predictions, str(write_image(tmp_path / 'a.png')))
    assert [row[:2] for row in rows] == [[name, round(score, 4)] for name, score in scores.items()]
    assert [row[2] for row in rows] == [[50, 20, 5, 1, 0][NAMES.index(row[0])] for row in rows]
    assert drawn.dtype == np.uint8


def test_boxes_of_one_class_have_one_bar(tmp_path: Path):
    predictions = predictions_of(load(save_detector(tmp_path)), threshold=0.0)
    scores, rows, _ = predict_file(predictions, str(write_image(tmp_path / 'a.png')))
    assert len(scores) < len(rows)
    assert scores == {name: pytest.approx(max(r[1] for r in rows if r[0] == name), abs=1e-4) for name in scores}


def test_hostile_uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    predictions = predictions_of(load(save_classifier(tmp_path)))
    (tmp_path / 'a.png').write_text('<script>alert(1)</script>')
    with pytest.raises(InputError, match='cannot be read as a picture'):
        predict_file(predictions, str(tmp_path / 'a.png'))
    monkeypatch.setattr(demo, 'MAX_PIXELS', 1000)
    Image.new('RGB', (100, 11)).save(tmp_path / 'large.png')
    with pytest.raises(InputError, match='has 100 x 11 pixels'):
        predict_file(predictions, str(tmp_path / 'large.png'))


@pytest.mark.slow
def test_page_in_a_browser(tmp_path: Path):
    """A picture is uploaded; classes, scores and training images appear. The page sends nothing to other hosts."""
    webdriver = pytest.importorskip('selenium.webdriver')
    pytest.importorskip('gradio')
    chromium, driver = Path('/usr/bin/chromium'), Path('/usr/bin/chromedriver')
    if not chromium.exists() or not driver.exists():
        pytest.skip('needs chromium and chromedriver')
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    trained = load(save_classifier(tmp_path))
    image = write_image(tmp_path / 'a b.png', shape=(300, 400, 3))
    _, rows, _ = predict_file(predictions_of(trained, top_k=2), str(image))
    page = build_page(trained, 'a toy', top_k=2)
    _, url, _ = page.launch(server_port=int(free_port()), prevent_thread_lock=True, quiet=True, max_file_size='1mb')
    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium)
    for option in (*OPTIONS, f'--user-data-dir={tmp_path / "profile"}'):
        options.add_argument(option)
    try:
        with webdriver.Chrome(options, webdriver.ChromeService(str(driver))) as browser:
            browser.get(url)
            wait = WebDriverWait(browser, 120)
            field = wait.until(lambda b: b.find_element(By.CSS_SELECTOR, 'input[type=file]'))
            field.send_keys(str(image))
            expected = {str(value) for row in rows for value in row} | {f'{round(rows[0][1] * 100)}%'}
            wait.until(lambda b: expected <= set(b.find_element(By.TAG_NAME, 'body').text.split()))
            browser.save_screenshot(str(tmp_path / 'page.png'))
    finally:
        page.close()
    assert url.startswith('http://127.0.0.1:')

from ltmm.datasets.image_paths import files_under


def test_links_to_folders_above_are_left_out(tmp_path):
    for name in ('a/1.jpg', 'b/c/2.jpg'):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    for link, target in (('a/up', '..'), ('a/self', '.'), ('b/c/a', '../../a'), ('a/b', '../b')):
        (tmp_path / link).symlink_to(target)
    a, b = ['1.jpg', 'b/c/2.jpg'], ['c/2.jpg', 'c/a/1.jpg']
    assert sorted(files_under(tmp_path / 'a')) == a
    assert sorted(files_under(tmp_path / 'b')) == b
    assert sorted(files_under(tmp_path)) == sorted([f'a/{name}' for name in a] + [f'b/{name}' for name in b])

"""The page in headless Chromium: plots, no errors, no requests, no code of strangers."""

import json
import shutil

import numpy as np
import pytest
from toy_processes import run_program
from toy_runs import HOSTILE, toy_box_run, toy_boxes, toy_multi_label_run, toy_run

pytest.importorskip('plotly')
webdriver = pytest.importorskip('selenium.webdriver')
CHROMIUM, DRIVER = shutil.which('chromium'), shutil.which('chromedriver')
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason='chromium and chromedriver are not installed'),
]
FLAGS = 'headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync'


@pytest.fixture
def browser(tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), 'disable-component-update', f'user-data-dir={tmp_path}/profile'):
        options.add_argument(f'--{flag}')
    options.set_capability('goog:loggingPrefs', dict(browser='ALL', performance='ALL'))
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def test_page_in_browser(tmp_path, browser):
    runs = [toy_run(tmp_path / f'ce/{seed}', seed, predictions=True) for seed in (0, 1)]
    runs.append(toy_run(tmp_path / 'focal', 0, 'FocalLoss'))
    out = tmp_path / 'report.html'
    done = run_program('tools/report.py', *runs, '--out', out)
    assert done.returncode == 0 and f'Wrote {out}' in done.stdout, done.stderr
    browser.set_window_size(390, 844)  # a phone
    browser.get(out.as_uri())
    assert not [line for line in browser.get_log('browser') if line['level'] in ('SEVERE', 'WARNING')]
    assert browser.execute_script('return window.hacked') is None
    plots = browser.execute_script("return [...document.querySelectorAll('.js-plotly-plot')].map(p => p.data.length)")
    drawn = browser.execute_script("return document.querySelectorAll('.js-plotly-plot .main-svg').length")
    assert len(plots) == 8 and min(plots) >= 1 and drawn >= 8
    assert browser.execute_script('return document.documentElement.scrollWidth <= window.innerWidth')
    names = browser.execute_script("return document.querySelector('#s8 tbody th').textContent")
    assert '<img src=x' in names or '<script>' in names or '<b>' in names  # as text
    messages = [json.loads(line['message'])['message'] for line in browser.get_log('performance')]
    urls = [m['params']['request']['url'] for m in messages if m['method'] == 'Network.requestWillBeSent']
    assert out.as_uri() in urls and not [url for url in urls if url.startswith(('http', 'ws', 'ftp'))]
    others = [url for url in urls if url.startswith('file:') and url != out.as_uri()]
    assert not others


def test_pages_of_labels_and_boxes_in_browser(tmp_path, browser):
    from ltmm.visualization.report import write_report

    rng = np.random.default_rng(0)
    scores, target = rng.random((30, 3)), rng.choice([-1, 0, 1], (30, 3))
    runs = {
        5: toy_multi_label_run(tmp_path / 'labels', HOSTILE, [300, 50, 3], scores, target),
        6: toy_box_run(tmp_path / 'boxes', *toy_boxes()),
    }
    browser.set_window_size(390, 844)  # a phone
    for num_plots, run in runs.items():
        browser.get(write_report([run], tmp_path / f'{run.name}.html').as_uri())
        assert not [line for line in browser.get_log('browser') if line['level'] in ('SEVERE', 'WARNING')]
        assert browser.execute_script('return window.hacked') is None
        data = "return [...document.querySelectorAll('.js-plotly-plot')].map(p => p.data.length)"
        plots = browser.execute_script(data)
        assert len(plots) == num_plots and min(plots) >= 1
        assert browser.execute_script('return document.documentElement.scrollWidth <= window.innerWidth')
        widths = browser.execute_script("return [...document.querySelectorAll('.thumbs img')].map(i => i.naturalWidth)")
        assert len(widths) > 5 and min(widths) > 0

"""The trials page in a real browser."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pettingzoo
import pytest
from playwright.sync_api import Page, expect

import cogment_lab
from cogment_lab.humans import SimulatedHuman, WebUI

pytestmark = pytest.mark.browser
DEADLINE_MS = 40_000
NO_STORAGE = Path(__file__).parent / "no_storage.js"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    seen = [0]

    def gate(observation: Any, proposed: Any) -> bool:
        seen[0] += 1
        return 3 <= seen[0] % 10 < 6

    env = cogment_lab.make(
        "CartPole-v1", teacher=SimulatedHuman(lambda _: 1, gate=gate), store=path, max_episode_steps=10
    )
    env.acknowledge_takeovers("this test")
    for seed in (1, 2):
        env.reset(seed=seed)
        for tick in range(10):
            _, _, terminated, truncated, _ = env.step(tick % 2)
            if terminated or truncated:
                break
    env.close()
    return path


@pytest.fixture
def ui(store: Path) -> Iterator[WebUI]:
    with WebUI(port=0, store=store) as opened:
        yield opened


def address(ui: WebUI, path: str) -> str:
    return f"http://127.0.0.1:{ui.port}/{path}{'&' if '?' in path else '?'}token={ui.token}"


def test_trials_are_shown_where_a_browser_keeps_nothing(page: Page, ui: WebUI) -> None:
    page.add_init_script(path=NO_STORAGE)
    page.goto(address(ui, "trials"))
    page.locator("#search").fill("CartPole")
    page.wait_for_url("**search=CartPole**")
    page.reload()
    page.locator("#rows a").first.click()
    expect(page.locator("#name")).to_be_visible(timeout=DEADLINE_MS)
    page.locator("#home").click()
    expect(page.locator("#rows tr")).to_have_count(2)
    page.get_by_role("link", name="Compare").click()
    expect(page.locator("#state")).to_contain_text("Nobody has asked", timeout=DEADLINE_MS)


def test_a_trial_is_found_looked_at_and_labelled(page: Page, ui: WebUI) -> None:
    page.goto(address(ui, "trials"))
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(2)
    page.locator("#search").fill("no such thing")
    expect(page.locator("#nothing")).to_have_text("No trial fits.")
    page.locator("#search").fill("CartPole")
    expect(rows).to_have_count(2)
    page.locator("#heads button", has_text="ticks").press("Enter")
    expect(page.locator("#heads th[aria-sort=descending]")).to_contain_text("ticks")
    rows.first.locator("a").press("Enter")
    expect(page.locator('[data-as="webp"]')).to_be_enabled(timeout=DEADLINE_MS)
    expect(page.locator("#source")).to_contain_text("agrees with the record")
    expect(page.locator("#bands .correcting").first).to_be_attached()
    assert "token" not in page.url
    page.locator("#name").click()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page.locator("#tick")).to_have_text("4")
    page.keyboard.press("i")
    expect(page.locator("#from")).to_have_value("4")
    page.locator("#to").fill("5")
    page.locator("#person").fill("<b>Ann</b>")
    page.locator("#kind").select_option("note")
    page.locator("#value").fill("<img src=x onerror=alert(1)>")
    page.locator("#value").press("Enter")
    label = page.locator("#labels li")
    expect(label).to_contain_text("<img src=x onerror=alert(1)>")
    expect(label).to_contain_text("<b>Ann</b>")
    assert page.locator("#labels img").count() == 0
    with page.expect_download() as download:
        page.locator('[data-as="json"]').click()
    assert download.value.suggested_filename.endswith(".json")
    page.get_by_label("Withdraw").click()
    expect(label).to_have_count(0)
    page.locator("#home").click()
    expect(page.locator("#search")).to_have_value("CartPole")  # the list as it was left
    expect(page.locator("#heads th[aria-sort=descending]")).to_contain_text("ticks")


def test_one_goes_from_trial_to_trial_of_the_list(page: Page, ui: WebUI) -> None:
    page.goto(address(ui, "trials?sort=trial_id&down=false"))
    links = page.locator("#rows a")
    expect(links).to_have_count(2)
    ids = links.all_inner_texts()
    links.first.click()
    expect(page.locator("#name")).to_contain_text(ids[0])
    assert page.locator("#previous").get_attribute("href") is None
    page.keyboard.press("j")
    expect(page.locator("#name")).to_contain_text(ids[1])
    page.keyboard.press("k")
    expect(page.locator("#name")).to_contain_text(ids[0])


def test_ticks_are_chosen_by_a_drag_and_a_label_is_changed(page: Page, ui: WebUI, store: Path) -> None:
    page.goto(address(ui, "trials"))
    page.locator("#rows a").last.click()
    expect(page.locator("#last")).to_have_text("9")
    page.locator("#bands").scroll_into_view_if_needed()
    box = page.locator("#bands").bounding_box()
    assert box is not None
    n_ticks = int(page.locator("#last").inner_text()) + 1
    middle = [box["x"] + box["width"] * (tick + 0.5) / n_ticks for tick in (6, 2)]
    page.mouse.move(middle[0], box["y"] + 5)
    page.mouse.down()
    page.mouse.move(middle[1], box["y"] + 5, steps=4)
    page.mouse.up()
    expect(page.locator("#from")).to_have_value("2")
    expect(page.locator("#to")).to_have_value("6")
    page.locator("#kind").select_option("correction")
    page.locator("#choice").select_option(label="push left")  # in the environment's words
    page.locator("#set-label").click()
    label = page.locator("#labels li")
    expect(label).to_contain_text("correction push left")
    expect(label).to_contain_text("ticks 2 to 6")
    page.get_by_label("Change: correction").click()
    page.locator("#choice").select_option(label="push right")
    page.locator("#set-label").click()
    expect(label).to_contain_text("correction push right")
    expect(label).to_contain_text("changed")
    expect(page.locator("#bands .labelled")).to_have_count(1)
    with cogment_lab.TrialStore(store) as records:
        first, second = records.labels(history=True)
        assert [first.value, second.value] == [0, 1] and (second.start, second.stop) == (2, 7)
    page.locator("#home").click()
    page.locator("#labelled").select_option("yes")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.locator("#labelled").select_option("no")
    expect(page.locator("#rows tr")).to_have_count(1)
    page.locator("#reset").click()
    expect(page.locator("#rows tr")).to_have_count(2)


def test_a_bad_value_is_said_and_kept_out(page: Page, ui: WebUI) -> None:
    page.goto(address(ui, "trials"))
    page.locator("#rows a").first.click()
    expect(page.locator("#tick")).to_have_text("0")
    page.locator("#value").fill("very good")
    page.locator("#value").press("Enter")
    expect(page.locator("#banner")).to_contain_text("rating")
    page.locator("#kind").select_option("rating")
    page.locator("#value").fill("1e999")
    page.locator("#value").press("Enter")
    expect(page.locator("#banner")).to_contain_text("rating")
    expect(page.locator("#labels li")).to_have_count(0)


def test_verdicts_are_shown_and_found(page: Page, ui: WebUI, store: Path) -> None:
    env = cogment_lab.make("CartPole-v1", store=store)
    env.reset(seed=5)
    env.step(0)
    env.trial.event("note", {"seat": "teacher", "text": "<i>tilted</i>", "tick": 0})
    env.trial.event("failure", {"seat": "teacher"})
    judged = env.trial_id
    env.close()
    page.goto(address(ui, "trials"))
    rows = page.locator("#rows tr")
    expect(rows).to_have_count(3)
    page.locator("#verdict").select_option("failure")
    expect(rows).to_have_count(1)
    expect(rows.first).to_contain_text(judged)
    expect(rows.first).to_contain_text("failure")
    page.locator("#verdict").select_option("success")
    expect(page.locator("#nothing")).to_have_text("No trial fits.")
    page.goto(address(ui, f"trials?trial={judged}"))
    said = page.locator("#said-list li")
    expect(said).to_have_count(2)
    expect(said.first).to_contain_text("“<i>tilted</i>”")
    expect(said.first).to_contain_text("note · teacher · tick 0")
    expect(said.last).to_contain_text("failure")


def test_each_agent_of_a_trial_has_its_own_ticks(page: Page, ui: WebUI, store: Path) -> None:
    env = pettingzoo.make("parallel", "classic/rps-v2", max_cycles=4)
    actors = {"player_0": lambda _: 0, "player_1": lambda _: 2}
    with cogment_lab.TrialStore(store) as records:
        (trial_id,) = cogment_lab.run(env, actors, 1, seed=3, store=records)
    page.goto(address(ui, f"trials?trial={trial_id}"))
    expect(page.locator("#executed")).to_have_text("action 0")
    expect(page.locator("#reward")).to_have_text("1.000")
    page.locator("#agent").select_option("player_1")
    expect(page.locator("#executed")).to_have_text("action 2")
    expect(page.locator("#reward")).to_have_text("-1.000")
    page.locator("#value").fill("0.5")
    page.locator("#value").press("Enter")
    expect(page.locator("#labels li")).to_contain_text("rating")
    with cogment_lab.TrialStore(store) as records:
        assert [label.agent for label in records.labels(trial_id)] == ["player_1"]


def test_unknown_trials_and_old_links_say_so(page: Page, ui: WebUI) -> None:
    page.goto(address(ui, "trials?trial=../../etc/passwd"))
    expect(page.locator("#banner")).to_contain_text("no trial")
    page.goto(address(ui, "trials").replace(ui.token, "old-old-old"))
    expect(page.locator("#banner")).to_contain_text("Ask for a new link")


FILM = """async () => {
  const { Clip } = await import("./site/clip.js");
  const canvas = Object.assign(document.createElement("canvas"), { width: 30, height: 20 });
  canvas.getContext("2d");
  const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg"));
  const file = new Uint8Array(await blob.arrayBuffer());
  const film = new ArrayBuffer(8 + 40 * 4 + 40 * file.length);
  const view = new DataView(film);
  view.setUint32(4, 40, true);
  for (let index = 0; index < 40; index++) {
    view.setUint32(8 + 4 * index, file.length, true);
    new Uint8Array(film, 8 + 40 * 4 + index * file.length).set(file);
  }
  const clip = new Clip(film);
  const first = await clip.picture(0);
  const widths = [first.width];
  for (let index = 1; index < 40; index++) widths.push((await clip.picture(index)).width);
  const [most, closed] = [clip.decoded.size, first.width];
  clip.close();
  return { length: clip.length, widths, most, closed, left: clip.decoded.size };
}"""


def test_few_pictures_of_a_clip_are_decoded_at_a_time(page: Page, ui: WebUI) -> None:
    page.goto(address(ui, "trials"))
    found = page.evaluate(FILM)
    assert found["length"] == 40 and found["widths"] == [30] * 40
    assert (found["most"], found["closed"], found["left"]) == (16, 0, 0)

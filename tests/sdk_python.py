"""Runway's official Python SDK, unchanged, against the simulator.

Run by tests/simulator_sdk.rs, or by hand: SIMULATOR_URL=http://127.0.0.1:PORT python tests/sdk_python.py
with a Python that has runwayml 5.24.0. The simulator should be started with short tasks (--task-seconds 1), and with
credits for a few dozen of them.
"""

import base64
import json
import os
import pathlib
import time
import unittest
import urllib.request

import runwayml
from runwayml import RunwayML, TaskFailedError

URL = os.environ["SIMULATOR_URL"]
KEY = "key_" + "0" * 128
MEDIA = pathlib.Path(__file__).resolve().parent.parent / "src" / "simulator" / "media"
VIDEO = MEDIA / "video.mp4"
IMAGE = MEDIA / "image.png"
AUDIO = MEDIA / "audio.mp3"


def control(path, value=None):
    """Asks the simulator's own side door."""
    data = None if value is None else json.dumps(value).encode()
    request = urllib.request.Request(f"{URL}/_simulator/{path}", data=data)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def finish(client, task_id):
    """Polls a task to its end, faster than the SDK's own waiting."""
    for _ in range(600):
        task = client.tasks.retrieve(task_id)
        if task.status in ("SUCCEEDED", "FAILED", "CANCELLED"):
            return task
        time.sleep(0.05)
    raise AssertionError(f"task {task_id} did not end")


def download(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.read()


class Sdk(unittest.TestCase):
    def setUp(self):
        self.client = RunwayML(api_key=KEY, base_url=URL, max_retries=0)
        self.settings = control("settings")
        self.addCleanup(self.client.close)
        self.addCleanup(control, "faults", [])
        kept = ("task_seconds", "credit_balance", "limits")
        self.addCleanup(control, "settings", {name: self.settings[name] for name in kept} | {"key": ""})

    def upload(self, path):
        return self.client.uploads.create_ephemeral(file=path).uri

    def succeeds(self, started, magic):
        """The task ends well and its output is a file of that kind that carries the task's id."""
        self.assertGreater(started.estimated_cost.credits, 0)
        task = finish(self.client, started.id)
        self.assertEqual(task.status, "SUCCEEDED")
        self.assertGreater(task.cost.credits, 0)
        for url in task.output:
            content = download(url)
            self.assertIn(magic, content[:16])
            self.assertIn(started.id.encode(), content)
        return task

    # The nine operations of the API guide.

    def test_1_credits(self):
        before = self.client.organization.retrieve()
        self.assertGreater(before.credit_balance, 0)
        self.assertIn("gen4_turbo", before.tier.models)
        started = self.client.sound_effect.create(model="eleven_text_to_sound_v2", prompt_text="rain", duration=1)
        finish(self.client, started.id)
        after = self.client.organization.retrieve()
        self.assertLess(after.credit_balance, before.credit_balance)
        name = "eleven_text_to_sound_v2"
        used = after.usage.models[name].daily_generations - before.usage.models[name].daily_generations
        self.assertEqual(used, 1)
        usage = self.client.organization.retrieve_usage()
        self.assertIn(name, usage.models)

    def test_2_image_to_video(self):
        started = self.client.image_to_video.create(
            model="gen4_turbo",
            prompt_image=self.upload(IMAGE),
            prompt_text="slow dolly in",
            ratio="1280:720",
            duration=5,
            seed=7,
        )
        self.assertEqual(started.estimated_cost.credits, 25)
        # The SDK's own waiting, once.
        task = started.wait_for_task_output()
        self.assertEqual(task.cost.credits, 25)
        self.assertIn(b"ftyp", download(task.output[0])[:16])

    def test_2_image_to_video_by_data_uri_and_url(self):
        data = "data:image/png;base64," + base64.b64encode(IMAGE.read_bytes()).decode()
        for uri in (data, "https://example.com/cat.jpg"):
            started = self.client.image_to_video.create(
                model="veo3.1",
                prompt_image=[{"uri": uri, "position": "first"}],
                ratio="1280:720",
                duration=8,
            )
            self.succeeds(started, b"ftyp")

    def test_3_text_to_video(self):
        started = self.client.text_to_video.create(
            model="veo3.1_fast", prompt_text="a harbour at dawn", ratio="1280:720", duration=6
        )
        self.succeeds(started, b"ftyp")

    def test_4_video_to_video(self):
        started = self.client.video_to_video.create(
            model="aleph2", video_uri=self.upload(VIDEO), prompt_text="make it snow"
        )
        self.succeeds(started, b"ftyp")

    def test_5_text_to_image(self):
        started = self.client.text_to_image.create(
            model="gen4_image",
            prompt_text="@cat on a roof",
            ratio="1920:1080",
            reference_images=[{"uri": self.upload(IMAGE), "tag": "cat"}],
        )
        self.succeeds(started, b"PNG")

    def test_5_text_to_image_several(self):
        started = self.client.text_to_image.create(
            model="gpt_image_2", prompt_text="a boat", ratio="1920:1920", output_count=4
        )
        self.assertEqual(len(self.succeeds(started, b"PNG").output), 4)

    def test_6_task_status(self):
        control("settings", {"task_seconds": 2})
        started = self.client.sound_effect.create(model="eleven_text_to_sound_v2", prompt_text="wind", duration=1)
        seen = set()
        progress = []
        for _ in range(600):
            task = self.client.tasks.retrieve(started.id)
            self.assertEqual(task.id, started.id)
            seen.add(task.status)
            if task.status == "RUNNING":
                progress.append(task.progress)
            if task.status == "SUCCEEDED":
                break
            self.assertGreater(task.estimated_cost.credits, 0)
            time.sleep(0.05)
        self.assertIn("RUNNING", seen)
        self.assertIn("SUCCEEDED", seen)
        self.assertEqual(progress, sorted(progress))

    def test_6_throttled(self):
        limits = {"default": {"max_concurrent": 1, "max_daily": None}}
        control("settings", {"task_seconds": 60, "limits": limits})
        start = lambda: self.client.sound_effect.create(model="mirelo_sfx_2_0", prompt_text="wind", duration=1)
        first, second = start(), start()
        self.assertEqual(self.client.tasks.retrieve(second.id).status, "THROTTLED")
        for started in (second, first):
            self.client.tasks.delete(started.id)
            self.assertEqual(self.client.tasks.retrieve(started.id).status, "CANCELLED")

    def test_7_cancel(self):
        control("settings", {"task_seconds": 60})
        before = self.client.organization.retrieve().credit_balance
        started = self.client.text_to_video.create(
            model="veo3.1", prompt_text="a storm", ratio="1280:720", duration=4
        )
        self.client.tasks.delete(started.id)
        task = self.client.tasks.retrieve(started.id)
        self.assertEqual((task.status, task.cost.credits), ("CANCELLED", 0))
        self.assertEqual(self.client.organization.retrieve().credit_balance, before)
        self.client.tasks.delete(started.id)
        with self.assertRaises(runwayml.NotFoundError):
            self.client.tasks.retrieve(started.id)

    def test_8_video_upscale(self):
        started = self.client.video_upscale.create(
            model="magnific_video_upscaler_creative", video_uri=self.upload(VIDEO)
        )
        self.succeeds(started, b"ftyp")

    def test_9_sound_effect(self):
        started = self.client.sound_effect.create(
            model="eleven_text_to_sound_v2", prompt_text="thunder", duration=3, loop=True
        )
        self.succeeds(started, b"ID3")

    # A few of the others, for their shapes.

    def test_audio_in_gives_a_wav(self):
        started = self.client.voice_isolation.create(
            model="eleven_voice_isolation", audio_uri=self.upload(AUDIO)
        )
        self.succeeds(started, b"RIFF")

    def test_workflow(self):
        started = self.client.workflows.run("0b2c4d6e-8f10-4a2b-9c3d-4e5f60718293")
        for _ in range(600):
            invocation = self.client.workflow_invocations.retrieve(started.id)
            if invocation.status == "SUCCEEDED":
                break
            time.sleep(0.05)
        self.assertEqual(invocation.status, "SUCCEEDED")
        self.assertTrue(all(urls for urls in invocation.output.values()))

    # What goes wrong, as the SDK tells it.

    def test_bad_request_names_the_field(self):
        with self.assertRaises(runwayml.BadRequestError) as caught:
            self.client.text_to_video.create(
                model="veo3.1", prompt_text="a storm", ratio="1280:720", duration=5
            )
        issues = caught.exception.body["issues"]
        self.assertEqual([issue["path"] for issue in issues], [["duration"]])

    def test_a_file_that_was_never_uploaded(self):
        with self.assertRaises(runwayml.BadRequestError):
            self.client.video_upscale.create(
                model="magnific_video_upscaler_creative", video_uri="runway://nothing"
            )

    def test_too_small_an_upload(self):
        with self.assertRaises(runwayml.APIStatusError):
            self.client.uploads.create_ephemeral(file=("tiny.png", b"x" * 511))

    def test_wrong_key(self):
        control("settings", {"key": "key_another"})
        with self.assertRaises(runwayml.AuthenticationError):
            self.client.organization.retrieve()

    def test_no_credits(self):
        control("settings", {"credit_balance": 0})
        with self.assertRaisesRegex(runwayml.BadRequestError, "credits"):
            self.client.sound_effect.create(model="eleven_text_to_sound_v2", prompt_text="wind", duration=1)

    def test_daily_limit(self):
        control("settings", {"limits": {"default": {"max_concurrent": None, "max_daily": 0}}})
        with self.assertRaises(runwayml.RateLimitError) as caught:
            self.client.sound_effect.create(model="eleven_text_to_sound_v2", prompt_text="wind", duration=1)
        self.assertGreaterEqual(int(caught.exception.response.headers["retry-after"]), 1)

    def test_server_error_and_reset(self):
        start = lambda: self.client.sound_effect.create(
            model="eleven_text_to_sound_v2", prompt_text="wind", duration=1
        )
        rule = {"match": {"path": "/v1/sound_effect"}, "times": 1}
        control("faults", [rule | {"action": {"status": {"code": 503}}}])
        with self.assertRaises(runwayml.InternalServerError):
            start()
        control("faults", [rule | {"action": "reset_after"}])
        with self.assertRaises(runwayml.APIConnectionError):
            start()

    def test_the_sdk_pays_twice_when_an_answer_is_lost(self):
        control("faults", [{"match": {"path": "/v1/sound_effect"}, "times": 1, "action": "reset_after"}])
        before = len(control("tasks"))
        retrying = self.client.with_options(max_retries=2)
        retrying.sound_effect.create(model="eleven_text_to_sound_v2", prompt_text="wind", duration=1)
        self.assertEqual(len(control("tasks")) - before, 2)

    def test_failed_task(self):
        started = self.client.sound_effect.create(
            model="eleven_text_to_sound_v2", prompt_text="wind [[fail SAFETY.INPUT.TEXT]]", duration=1
        )
        with self.assertRaises(TaskFailedError) as caught:
            started.wait_for_task_output()
        self.assertEqual(caught.exception.task_details.failure_code, "SAFETY.INPUT.TEXT")

    def test_the_sdk_never_sends_the_key_to_storage(self):
        self.upload(IMAGE)
        for seen in control("log")["requests"]:
            self.assertNotIn("violations", seen)


if __name__ == "__main__":
    unittest.main(verbosity=2)

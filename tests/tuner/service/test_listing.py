"""Whose studies are listed, shown to others and deleted."""

import io
import json

import httpx2
import pandas as pd
import pytest

from tests.tuner.service.conftest import refused, uploads
from tuner.storage.tables import LinkRow

pytestmark = pytest.mark.integration


def test_users_are_apart(service, data):
    with service.client("ada") as ada, service.client("grace") as grace:
        mine = ada.submit(data(), trials=4)
        theirs = grace.submit(data(), trials=4)
        assert mine["study"] == theirs["study"]
        assert mine["id"] != theirs["id"]
        assert [each["id"] for each in grace.list()] == [theirs["id"]]
        for call in (grace.status, grace.result, grace.cancel, grace.delete):
            refused(lambda call=call: call(mine["id"]), 404)
        refused(lambda: list(grace.watch(mine["id"])), 404)
        assert ada.status(mine["id"])["status"] == "queued"


def test_a_study_can_be_shown_to_another(service, data):
    with service.client("ada") as ada, service.client("grace") as grace:
        mine = ada.submit(data(), trials=4)
        assert "there is no user 'alan'" in refused(lambda: ada.share(mine["id"], "alan"), 404)
        refused(lambda: grace.share(mine["id"], "grace"), 404)
        assert ada.share(mine["id"], "grace") == ("grace",)
        assert grace.status(mine["id"]) == mine
        assert [(each["id"], each["owner"]) for each in grace.list()] == [(mine["id"], "ada")]
        for call in (grace.cancel, grace.delete, lambda study: grace.share(study, "grace")):
            told = refused(lambda call=call: call(mine["id"]), 403)
            assert "this study is ada's: you may look at it, no more" in told
        assert ada.share(mine["id"], "grace", remove=True) == ()
        refused(lambda: grace.status(mine["id"]), 404)


def test_pages_lead_to_every_study(service):
    with service.client() as client:
        made = [client.submit("mfeat", seed=seed)["id"] for seed in range(5)]
        client.cancel(made[2])
        assert [each["id"] for each in client.list(limit=2)] == made[::-1]
        assert [each["id"] for each in client.list(status="cancelled")] == [made[2]]
        assert list(client.list(name="nothing")) == []
        refused(lambda: list(client.list(cursor="nonsense")), 422)


def test_deleting_takes_the_data_along(service, data):
    with service.client() as client:
        study = client.submit(data(), trials=4)
        client.delete(study["id"])
        refused(lambda: client.status(study["id"]), 404)
    assert uploads(service) == []


def test_a_study_is_renamed_noted_tagged_and_put_aside(shared_service):
    with shared_service.client("ada") as ada, shared_service.client("grace") as grace:
        study = ada.submit("mfeat")
        before = study["note"], study["tags"], study["archived"], study["source"]
        assert before == ("", [], False, "mfeat")
        mine = study["id"]
        note = "first line\nsecond <b>line</b>"
        after = ada.edit(mine, name=" digits ", note=note, tags=["b", " a", "b"], archived=True)
        changed = {"name": "digits", "note": note, "tags": ["b", "a"], "archived": True}
        assert after == study | changed
        assert ada.edit(mine, note=None, tags=["a"])["note"] == note
        assert ada.status(mine) == after | {"tags": ["a"]}
        assert list(ada.list()) == []
        assert [each["name"] for each in ada.list(archived=True, q="SECOND", tag="a")] == ["digits"]
        refused(lambda: grace.edit(mine, name="hers"), 404)
        ada.share(mine, "grace")
        refused(lambda: grace.edit(mine, name="hers"), 403)
        for wrong in (
            {"name": " "},
            {"name": "x" * 65},
            {"name": "two\nlines"},
            {"note": "x" * 10_001},
            {"note": "bell \a"},
            {"tags": ["x" * 41]},
            {"tags": [""]},
            {"tags": [str(n) for n in range(21)]},
            {"status": "done"},
        ):
            refused(lambda wrong=wrong: ada.edit(mine, **wrong), 422)


def test_lists_are_sorted_filtered_and_paged(shared_service):
    with shared_service.client("alan") as client:
        made = [client.submit("mfeat", seed=seed)["id"] for seed in range(5)]
        for name, study in zip("cabed", made, strict=True):
            client.edit(study, name=name)
        client.cancel(made[2])
        for sort, names in (("name", "abcde"), ("-name", "edcba"), ("created", "cabed")):
            for limit in (1, 2, 50):
                listed = [each["name"] for each in client.list(sort=sort, limit=limit)]
                assert listed == list(names), (sort, limit)
        assert len(list(client.list(status=["cancelled", "queued"]))) == 5
        assert len(list(client.list(status=["cancelled", "done"], verdict="align"))) == 0
        assert len(list(client.list(sort="-lambda", limit=2))) == 5
        page = client._json("GET", "/studies", params={"sort": "name", "limit": 1})
        for wrong in ({"sort": "ended"}, {}, {"sort": "name", "cursor": "W10="}):
            asked = {"cursor": page["next"]} | wrong
            refused(lambda asked=asked: list(client.list(**asked)), 422)


def test_how_far_a_study_is(shared_service):
    def standing():
        now = client.status(study["id"])
        return now["phase"], now["progress"], now["seconds_left"]

    def tell(**content):
        shared_service.store.tell(study["study"], "progress", content)

    with shared_service.client("emmy") as client:
        study = client.submit("mfeat", seed=99)
        assert standing() == ("waits for its turn", None, None)
        told = {"status": "queued", "step": "hashing it"}
        shared_service.store.tell(study["study"], "status", told)
        assert standing() == ("waits for its turn", None, None)
        assert client.status(study["id"])["step"] == "hashing it"
        shared_service.store.set_status(study["study"], "running")
        assert standing() == ("starting workers", None, None)
        told = {"status": "running", "step": "reading it: row 5 of 9"}
        shared_service.store.tell(study["study"], "status", told)
        assert standing() == ("starting workers", None, None)
        assert client.status(study["id"])["step"] == "reading it: row 5 of 9"
        tell(phase="search", done=3, total=8, share=0.25, seconds_left=1000.0)
        assert client.status(study["id"])["step"] is None
        phase, share, left = standing()
        assert (phase, share) == ("search", 0.25)
        assert 900 < left <= 1000
        under_way = {"phase": "search", "strength": 0.5, "epoch": 2.4, "epochs": 18}
        tell(phase="search", done=3, total=8, share=0.3, under_way=[under_way])
        told = {"lambda": 0.5, "epoch": 2.4, "epochs": 18}
        assert client.status(study["id"])["under_way"] == [told]
        tell(phase="confirm", done=6, total=8, seconds_left=None)  # as version 0.1.0 did
        assert client.status(study["id"])["under_way"] == []
        assert standing() == ("confirming", 0.75, None)
        tell(phase="confirm", done=8, total=8, share=1.0, seconds_left=0.0)
        assert standing() == ("registering", 1.0, 0.0)
        (listed,) = client.list()
        assert listed == client.status(study["id"])
        shared_service.store.set_status(study["study"], "failed", "planted")
        assert standing() == (None, None, None)


def test_a_link_shows_one_study_and_nothing_else(shared_service, classification, caplog):
    caplog.set_level("INFO")
    service, version = shared_service, "/api/v1"
    with service.client("maria") as maria, httpx2.Client(base_url=service.url) as stranger:
        study = maria.submit("mfeat", seed=77)
        other = maria.submit("mfeat", seed=78)
        link, second = maria.link(study["id"], days=1), maria.link(study["id"])
        assert link["url"] == f"{service.url}/#/shared/{link['token']}"
        assert {each["id"] for each in maria.links(study["id"])} == {link["id"], second["id"]}
        assert link["token"] not in json.dumps(maria.links(study["id"]))
        place = f"{version}/shared/{link['token']}"

        def get(path=""):
            return stranger.get(place + path)

        seen = get().json()
        kept = ("owner", "options", "note", "tags", "archived", "webhook_error", "email_error")
        assert not set(seen) & {*kept, "answered_from_store"}
        assert seen.items() <= study.items()
        assert get("/result").status_code == 409
        told = classification.result.model_copy(update={"study": study["study"]})
        service.store.update(study["study"], status="done", result=told.model_dump(mode="json"))
        assert get().json()["verdict"] == "undecided"
        assert get("/result").json() == maria.result(study["id"]).model_dump(mode="json")
        assert get("/report").status_code == 409  # MLflow has none
        assert "event: end" in get("/events").text
        table = pd.read_csv(io.StringIO(get("/curve.csv").text))
        assert maria.curve(study["id"]) == get("/curve.csv").text
        points = [
            (p.strength, target, getattr(p, target).mean, getattr(p, target).sem, p.replicates)
            for p in told.curve
            for target in ("a", "b", "joint")
        ]
        assert list(table.itertuples(index=False, name=None)) == points

        assert get("/encoders/a").status_code == 404
        for method in ("POST", "DELETE", "PATCH"):
            assert stranger.request(method, place).status_code == 405
        bearer = {"Authorization": f"Bearer {link['token']}"}
        for path in ("/studies", f"/studies/{study['id']}", f"/studies/{study['id']}/result"):
            assert stranger.get(version + path, headers=bearer).status_code == 401
            assert stranger.get(version + path).status_code == 401
        with service.client("nina") as nina:
            for call in (nina.link, nina.links, lambda id_: nina.revoke_link(id_, link["id"])):
                refused(lambda call=call: call(study["id"]), 404)
            maria.share(study["id"], "nina")
            refused(lambda: nina.link(study["id"]), 403)
            refused(lambda: nina.links(study["id"]), 403)
        refused(lambda: maria.revoke_link(other["id"], link["id"]), 404)
        key = {"Authorization": f"Bearer {service.key('maria')}"}
        proxy = {"Host": "inside", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/tuner/"}
        proxy |= {"X-Forwarded-Host": "example.org:8443"}
        path = f"{version}/studies/{other['id']}/links"
        made = stranger.post(path, json={}, headers=key | proxy).json()
        assert made["url"] == f"https://example.org:8443/tuner/#/shared/{made['token']}"
        for days in (0, 366):
            refused(lambda days=days: maria.link(study["id"], days=days), 422)

        nothing = stranger.get(f"{version}/shared/tl_unknown")
        maria.revoke_link(study["id"], link["id"])
        refused(lambda: maria.revoke_link(study["id"], link["id"]), 404)
        with service.database.session() as session:
            expired = session.get(LinkRow, second["id"])
            expired.expires = 0.0
        third = maria.link(study["id"])
        assert [each["id"] for each in maria.links(study["id"])] == [third["id"]]
        maria.delete(study["id"])
        for gone in (link, second, third):
            for path in ("", "/result", "/events"):
                answer = stranger.get(f"{version}/shared/{gone['token']}{path}")
                assert (answer.status_code, answer.json()) == (404, nothing.json())
        paths = {getattr(record, "path", "") for record in caplog.records}
        assert f"{version}/shared/…/result" in paths  # a token is a key: no log has it
        assert not any("tl_" in path for path in paths)

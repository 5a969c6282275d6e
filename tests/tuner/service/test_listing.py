"""Whose studies are listed, shown to others and deleted."""

import pytest

from tests.tuner.service.conftest import refused, uploads

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

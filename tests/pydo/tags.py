"""Tags of droplets."""

from client import checked, main


def resources(droplets):
    return {"resources": [{"resource_id": one, "resource_type": "droplet"} for one in droplets]}


def tag(client, name, *droplets):
    if not any(known["name"] == name for known in checked(client.tags.list())["tags"]):
        checked(client.tags.create(body={"name": name}))
    checked(client.tags.assign_resources(name, body=resources(droplets)))
    return tagged(client, name)


def untag(client, name, *droplets):
    checked(client.tags.unassign_resources(name, body=resources(droplets)))
    return tagged(client, name)


def tagged(client, name):
    """Ids of the droplets that have the tag, over all pages."""
    ids = []
    page = 1
    while True:
        answer = checked(client.droplets.list(tag_name=name, page=page, per_page=200))
        ids += [droplet["id"] for droplet in answer["droplets"]]
        if "next" not in answer.get("links", {}).get("pages", {}):
            return ids
        page += 1


main({"tag": tag, "untag": untag, "list": tagged})

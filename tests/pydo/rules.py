"""The trusted sources of a database cluster, as its users change them: a list that is read,
changed and written back."""

import json

from client import checked, main


def read(client, cluster):
    return checked(client.databases.list_firewall_rules(database_cluster_uuid=cluster))["rules"]


def write(client, cluster, rules):
    checked(
        client.databases.update_firewall_rules(
            database_cluster_uuid=cluster, body={"rules": rules}
        )
    )
    return read(client, cluster)


def write_json(client, cluster, rules):
    return write(client, cluster, json.loads(rules))


def stale(client, cluster):
    """Replaces the rules on the condition that they are as they were before another change."""
    tag = client.databases.list_firewall_rules(
        database_cluster_uuid=cluster,
        cls=lambda response, _, __: response.http_response.headers["ETag"],
    )
    replace(client, cluster, "tag:first")
    client.databases.update_firewall_rules(
        database_cluster_uuid=cluster, body={"rules": []}, headers={"If-Match": tag}
    )


def append(client, cluster, *pairs):
    return write(client, cluster, read(client, cluster) + [rule(pair) for pair in pairs])


def remove(client, cluster, *pairs):
    gone = [tuple(pair.split(":", 1)) for pair in pairs]
    kept = [one for one in read(client, cluster) if (one["type"], one["value"]) not in gone]
    return write(client, cluster, kept)


def replace(client, cluster, *pairs):
    return write(client, cluster, [rule(pair) for pair in pairs])


def rule(pair):
    kind, value = pair.split(":", 1)
    return {"type": kind, "value": value}


main(
    {
        "list": read,
        "append": append,
        "remove": remove,
        "replace": replace,
        "write": write_json,
        "stale": stale,
    }
)

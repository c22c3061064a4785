"""A Kubernetes cluster's node pool."""

from client import checked, main


def resize(client, cluster, pool, count):
    known = checked(client.kubernetes.get_node_pool(cluster, pool))["node_pool"]
    body = {"name": known["name"], "count": int(count)}
    return checked(client.kubernetes.update_node_pool(cluster, pool, body=body))["node_pool"]


def nodes(client, cluster):
    answer = checked(client.kubernetes.get_cluster(cluster))["kubernetes_cluster"]
    return [node for pool in answer["node_pools"] for node in pool["nodes"]]


main({"resize": resize, "nodes": nodes})

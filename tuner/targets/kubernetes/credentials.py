"""Where the cluster is and who we are: a kubeconfig as kubectl reads it, or a pod's service account."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuner.core.errors import InvalidInput

if TYPE_CHECKING:
    from kubernetes.aio.client.api_client import ApiClient

_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


async def load(kubeconfig: str | Path | None, context: str | None) -> tuple[ApiClient, str | None]:
    """A connection and the context's namespace (None: it names none).

    `kubeconfig` None means the files of KUBECONFIG or ~/.kube/config; where there is none of them, the service account
    of the pod we run in. Raises InvalidInput where nothing usable is found.
    """
    # The import takes a second, which commands that never talk to a cluster should not pay.
    from kubernetes.aio import config
    from kubernetes.aio.client.api_client import ApiClient
    from kubernetes.aio.client.configuration import Configuration
    from yaml import YAMLError  # type: ignore[import-untyped]

    files = str(kubeconfig or config.KUBE_CONFIG_DEFAULT_LOCATION)
    configuration = Configuration()
    try:
        if not _exists(files):
            if kubeconfig or context:
                raise InvalidInput(f"kubeconfig {files}: no such file")
            if not _exists(str(_SERVICE_ACCOUNT / "token")):
                raise InvalidInput(
                    f"no cluster: neither a kubeconfig ({files}; --kubeconfig names another one) nor a pod's service "
                    "account was found"
                )
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            return ApiClient(configuration), _own_namespace()
        loader = await config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=files, context=context, client_configuration=configuration, persist_config=False
        )
    except (KeyError, TypeError, AttributeError) as error:
        # What the library's code stumbles over in a file of another shape than it expects.
        text = "is no kubeconfig: it needs clusters, users and contexts; allowed: a file as kubectl takes it"
        raise InvalidInput(f"kubeconfig {files}: {text}") from error
    except OSError as error:
        raise InvalidInput(f"kubeconfig {files}: can't be read: {error.strerror or error}") from error
    except (config.ConfigException, YAMLError, ValueError) as error:
        raise InvalidInput(f"kubeconfig {files}: can't be read as one: {' '.join(str(error).split())}") from error
    current = loader.current_context.get("context") or {}
    return ApiClient(configuration), current.get("namespace")


def _exists(files: str) -> bool:
    return any(Path(name).expanduser().exists() for name in files.split(":") if name)


def _own_namespace() -> str | None:
    path = _SERVICE_ACCOUNT / "namespace"
    return path.read_text().strip() if path.exists() else None

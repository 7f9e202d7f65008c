"""MLflow's server with another start page; `python -m expkit.ui` starts it by `--app-name expkit`.

The browser remembers in which mode the UI is, and whether its assistant has opened by itself. Unless the user
has chosen already, the start page selects the mode for training models and keeps the assistant closed. MLflow
3.17 has no setting for that; another version may ignore the names below.
"""

from pathlib import Path

import mlflow.server
from mlflow.server.fastapi_app import app
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

DEFAULTS = """<script>
for (const [key, value] of Object.entries({
  'mlflow.workflowType_v1': '"machine_learning"',
  'mlflow.assistant.fab.autoOpenedOnFirstLoad_v1': 'true',
})) if (localStorage.getItem(key) === null) localStorage.setItem(key, value)
</script>"""


def start_page(request: Request) -> HTMLResponse:
    """Return MLflow's own page with a script that runs before the UI starts."""
    page = Path(mlflow.server.app.static_folder, "index.html").read_text(encoding="utf-8")
    changed = page.replace("<head>", f"<head>{DEFAULTS}", 1)
    return HTMLResponse(changed, headers={"cache-control": "no-cache"})


# A route is reached after MLflow has checked the name of the host; a middleware would answer before.
app.router.routes.insert(0, Route("/", start_page))

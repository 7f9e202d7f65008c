"""MLflow's server with another start page, which `python -m expkit.ui` names by `--app-name expkit`.

The UI keeps in the browser which mode it is in, and whether its assistant has opened by itself. The start
page sets both where nobody has chosen yet: the mode for training models, and an assistant that stays
closed. No setting of the server does that in MLflow 3.17; another version may ignore these names.
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
    """MLflow's own page, with a script that runs before the UI does."""
    page = Path(mlflow.server.app.static_folder, "index.html").read_text(encoding="utf-8")
    changed = page.replace("<head>", f"<head>{DEFAULTS}", 1)
    return HTMLResponse(changed, headers={"cache-control": "no-cache"})


# A route stays behind MLflow's check of the host's name; a middleware would answer before it.
app.router.routes.insert(0, Route("/", start_page))

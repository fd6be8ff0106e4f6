"""Broken configurations: what was changed in a sound folder, and what gaeport and gcloud say.

What gcloud 528 does was tried by deploying each against a stand-in for Google's APIs: it refuses before anything is
uploaded, crashes, fails late (the version is live already), or deploys; what App Engine does then stands in AFTER.
"""

from dataclasses import dataclass, field
from pathlib import Path

APP = """\
runtime: python313
entrypoint: gunicorn --bind :$PORT main:app
automatic_scaling:
  max_instances: 2
handlers:
- url: /static
  static_dir: static
- url: /.*
  script: auto
"""
SOUND = {
    "app.yaml": APP,
    "main.py": "app = print\n",
    "requirements.txt": "gunicorn\nflask>=3\n",
    "gaeport.toml": 'app = "main:app"\n',
    "static/a.css": "",
    ".gcloudignore": ".gcloudignore\n.gaeport/\n",
    "index.yaml": "indexes:\n",
    "queue.yaml": "queue:\n- name: default\n  rate: 5/s\n",
    "cron.yaml": "cron:\n- url: /a\n  schedule: every 5 minutes\n",
    "dispatch.yaml": 'dispatch:\n- url: "*/a/*"\n  service: default\n',
}


@dataclass(frozen=True)
class Broken:
    """One mistake.

    Attributes:
        name: what it is.
        files: the files that differ from SOUND; None for one that is missing.
        code: of the finding that names it.
        line: of the finding.
        gcloud: what gcloud does.
    """

    name: str
    files: dict[str, str | None] = field(default_factory=dict)
    code: str = ""
    line: int | None = None
    gcloud: str = "deploys"


def app(old: str, new: str) -> dict[str, str | None]:
    """Return an app.yaml with one piece replaced."""
    assert old in APP
    return {"app.yaml": APP.replace(old, new, 1)}


def queue(text: str) -> dict[str, str | None]:
    return {"queue.yaml": f"queue:\n- name: a\n{text}"}


def cron(text: str) -> dict[str, str | None]:
    return {"cron.yaml": f"cron:\n{text}"}


def dispatch(url: str) -> dict[str, str | None]:
    return {"dispatch.yaml": f'dispatch:\n- url: "{url}"\n  service: default\n'}


MAIN = "  script: auto\n"
END = MAIN
CASES = (
    Broken("no app.yaml", {"app.yaml": None}, "app.missing", None, "refuses"),
    Broken("empty app.yaml", {"app.yaml": ""}, "app.empty", None, "refuses"),
    Broken("a tab in app.yaml", app("  static_dir", "\tstatic_dir"), "app.yaml", 7, "refuses"),
    Broken("no runtime", app("runtime: python313\n", ""), "app.missing-key", 1, "refuses"),
    Broken("a runtime that never was", app("python313", "python399"), "app.runtime", 1, "deploys"),
    Broken("a runtime that has ended", app("python313", "python37"), "app.runtime", 1, "deploys"),
    Broken("an unknown key", app("entrypoint:", "entry_point:"), "app.unknown-key", 2, "refuses"),
    Broken("a key twice", app("entrypoint", "runtime: python312\nentrypoint"), "app.twice", 2, "refuses"),
    Broken("application", app("runtime", "application: shop\nruntime"), "app.refused-key", 1, "refuses"),
    Broken("version", app("runtime", 'version: "1"\nruntime'), "app.refused-key", 1, "refuses"),
    Broken("threadsafe", app("runtime", "threadsafe: true\nruntime"), "app.refused-key", 1, "refuses"),
    Broken(
        "libraries", app(END, f"{END}libraries:\n- name: ssl\n  version: latest\n"), "app.refused-key", 10, "refuses"
    ),
    Broken("a key without a value", app("main:app\n", "main:app\nservice:\n"), "app.value", 3),
    Broken("a service's name in capitals", app("runtime", "service: Shop\nruntime"), "app.value", 1, "refuses"),
    Broken("flexible environment", app("runtime", "env: flex\nruntime"), "app.value", 1, "refuses"),
    Broken(
        "resources of the flexible environment",
        app(END, f"{END}resources:\n  cpu: 1\n"),
        "app.refused-key",
        10,
        "deploys",
    ),
    Broken("entrypoint without gunicorn", {"requirements.txt": "flask\n"}, "app.entrypoint", 2),
    Broken("entrypoint of a missing module", app("main:app", "wsgi:app"), "app.entrypoint", 2),
    Broken("entrypoint of a missing name", app("main:app", "main:wsgi"), "app.entrypoint", 2),
    Broken("a fixed port", app("--bind :$PORT", "--bind :8000"), "app.port", 2),
    Broken("more workers than memory", app("gunicorn ", "gunicorn --workers 8 "), "app.workers", 2),
    Broken(
        "no entrypoint and no main.py",
        {**app("entrypoint: gunicorn --bind :$PORT main:app\n", ""), "main.py": None, "gaeport.toml": ""},
        "app.entrypoint",
    ),
    Broken(
        "no entrypoint and no app in main.py",
        {**app("entrypoint: gunicorn --bind :$PORT main:app\n", ""), "main.py": "a = 1\n", "gaeport.toml": ""},
        "app.entrypoint",
    ),
    Broken(
        "two ways of scaling",
        app("handlers:", "basic_scaling:\n  max_instances: 1\nhandlers:"),
        "app.scaling",
        5,
        "refuses",
    ),
    Broken(
        "basic scaling without max_instances",
        app("automatic_scaling:\n  max_instances: 2", "basic_scaling:\n  idle_timeout: 10m"),
        "app.missing-key",
        4,
        "refuses",
    ),
    Broken(
        "an F class with basic scaling",
        app("automatic_scaling", "instance_class: F2\nbasic_scaling"),
        "app.instance-class",
        3,
        "deploys",
    ),
    Broken(
        "a B class with automatic scaling",
        app("automatic", "instance_class: B2\nautomatic"),
        "app.instance-class",
        3,
        "deploys",
    ),
    Broken("an unknown class", app("automatic", "instance_class: F3\nautomatic"), "app.value", 3, "deploys"),
    Broken(
        "min over max instances",
        app("max_instances: 2", "max_instances: 2\n  min_instances: 5"),
        "app.scaling",
        5,
        "deploys",
    ),
    Broken(
        "a CPU share of 2",
        app("max_instances: 2", "max_instances: 2\n  target_cpu_utilization: 2"),
        "app.value",
        5,
        "deploys",
    ),
    Broken("no ceiling", app("max_instances: 2", "min_instances: 0"), "app.no-ceiling", 4),
    Broken(
        "warmup with basic scaling",
        app("automatic_scaling", "inbound_services: [warmup]\nbasic_scaling"),
        "app.warmup",
        3,
    ),
    Broken(
        "an unknown inbound service",
        app("automatic", "inbound_services: [warmpu]\nautomatic"),
        "app.value",
        3,
        "refuses",
    ),
    Broken(
        "handlers in a map",
        app("handlers:\n- url: /static\n  static_dir: static\n- url: /.*\n  script: auto\n", "handlers:\n  url: /.*\n"),
        "app.value",
        6,
        "refuses",
    ),
    Broken(
        "101 handlers",
        app("handlers:\n", "handlers:\n" + "".join(f"- url: /x{n}\n  script: auto\n" for n in range(99))),
        "app.too-many",
        6,
        "refuses",
    ),
    Broken(
        "a handler without a url", app("- url: /static\n  static_dir", "- static_dir"), "app.missing-key", 6, "crashes"
    ),
    Broken("a url without a slash", app("/static", "static"), "app.url", 6, "refuses"),
    Broken("a url that is no expression", app("/static", "/static("), "app.url", 6),
    Broken("a handler that does nothing", app("  static_dir: static\n", ""), "app.handler", 6, "refuses"),
    Broken(
        "script and static_dir",
        app("static_dir: static", "static_dir: static\n  script: auto"),
        "app.handler",
        6,
        "refuses",
    ),
    Broken("a script of Python 2", app("script: auto", "script: main.app"), "app.script", 9),
    Broken("login: admin", app(END, f"{END}  login: admin\n"), "app.login", 10),
    Broken("a static folder that is not there", app("static_dir: static", "static_dir: assets"), "app.static", 7),
    Broken(
        "static_files without upload",
        app("static_dir: static", "static_files: static/a.css"),
        "app.upload",
        7,
        "refuses",
    ),
    Broken(
        "an upload that matches nothing",
        app("static_dir: static", "static_files: static/a.css\n  upload: b.css"),
        "app.static",
        8,
    ),
    Broken(
        "a group that the url does not have",
        app("static_dir: static", "static_files: static/\\1\n  upload: static/.*"),
        "app.static",
        7,
    ),
    Broken(
        "a handler after one that takes all", app("handlers:\n", f"handlers:\n- url: /.*\n{MAIN}"), "app.shadowed", 8
    ),
    Broken(
        "an expiration in words",
        app("static_dir: static", "static_dir: static\n  expiration: one day"),
        "app.value",
        8,
        "refuses",
    ),
    Broken(
        "a mount under a static folder",
        {"gaeport.toml": 'app = "main:app"\n[[mount]]\npath = "static/up"\n'},
        "app.static-mount",
        7,
    ),
    Broken("a variable that turns into True", app(END, f"{END}env_variables:\n  DEBUG: true\n"), "app.variable", 11),
    Broken("a password in clear", app(END, f"{END}env_variables:\n  DB_PASSWORD: hunter2\n"), "app.secret", 11),
    Broken(
        "an emulator in production",
        app(END, f"{END}env_variables:\n  DATASTORE_EMULATOR_HOST: localhost:8081\n"),
        "app.emulator",
        11,
    ),
    Broken("a variable of App Engine's", app(END, f"{END}env_variables:\n  GAE_ENV: standard\n"), "app.variable", 11),
    Broken(
        "the bundled memcache switched off",
        {"gaeport.toml": 'app = "main:app"\n[cache]\nurl = "appengine://"\n'},
        "app.bundled-apis",
    ),
    Broken("no requirements.txt", {"requirements.txt": None}, "requirements.missing"),
    Broken("a requirement that is none", {"requirements.txt": "gunicorn\nflask 3\n"}, "requirements.line", 2),
    Broken("a requirement twice", {"requirements.txt": "gunicorn\nflask\nFlask==3\n"}, "requirements.twice", 3),
    Broken("an editable requirement", {"requirements.txt": "gunicorn\n-e ../lib\n"}, "requirements.editable", 2),
    Broken(
        "a wheel that is not there",
        {"requirements.txt": "gunicorn\nvendor/a-1-py3-none-any.whl\n"},
        "requirements.file",
        2,
    ),
    Broken(
        "a password in requirements.txt",
        {"requirements.txt": "gunicorn\n--index-url https://me:pw@example.org/simple\n"},
        "requirements.secret",
        2,
    ),
    Broken("empty queue.yaml", {"queue.yaml": ""}, "queue.empty", None, "crashes"),
    Broken("a queue without a rate", queue("  bucket_size: 1\n"), "queue.rate", 2, "fails late"),
    Broken("rate 0", queue("  rate: 0\n"), "queue.rate", 3, "fails late"),
    Broken("a rate over 500/s", queue("  rate: 501/s\n"), "queue.rate", 3, "fails late"),
    Broken("a rate in words", queue("  rate: fast\n"), "queue.value", 3, "refuses"),
    Broken("a bucket over 500", queue("  rate: 1/s\n  bucket_size: 501\n"), "queue.value", 4, "fails late"),
    Broken("a pull queue", queue("  mode: pull\n"), "queue.pull", 3),
    Broken(
        "backoff upside down",
        queue("  rate: 1/s\n  retry_parameters:\n    min_backoff_seconds: 9\n    max_backoff_seconds: 1\n"),
        "queue.backoff",
        5,
        "fails late",
    ),
    Broken("a queue twice", queue("  rate: 1/s\n- name: a\n  rate: 1/s\n"), "queue.twice", 4),
    Broken(
        "a queue's name with a blank", {"queue.yaml": "queue:\n- name: a b\n  rate: 1/s\n"}, "queue.value", 2, "refuses"
    ),
    Broken("a job without a schedule", cron("- url: /a\n"), "cron.missing-key", 2, "refuses"),
    Broken("a job in cron's own words", cron("- url: /a\n  schedule: '*/5 * * * *'\n"), "cron.schedule", 3),
    Broken(
        "a url without a slash in cron.yaml",
        cron("- url: a\n  schedule: every 5 minutes\n"),
        "cron.value",
        2,
        "refuses",
    ),
    Broken(
        "a time zone that is none",
        cron("- url: /a\n  schedule: every 5 minutes\n  timezone: Europe/Bern\n"),
        "cron.timezone",
        4,
    ),
    Broken(
        "6 retries of a job",
        cron("- url: /a\n  schedule: every 5 minutes\n  retry_parameters:\n    job_retry_limit: 6\n"),
        "cron.value",
        5,
        "fails late",
    ),
    Broken("a job twice", cron("- url: /a\n  schedule: every 5 minutes\n" * 2), "cron.twice", 4),
    Broken("dispatch without a path", dispatch("example.com"), "dispatch.url", 2, "refuses"),
    Broken("dispatch without a host", dispatch("/a/*"), "dispatch.url", 2, "refuses"),
    Broken("a star inside a path", dispatch("*/a/*/b"), "dispatch.url", 2),
    Broken(
        "a rule after one that takes all",
        {"dispatch.yaml": 'dispatch:\n- url: "*/*"\n  service: default\n- url: "*/a"\n  service: b\n'},
        "dispatch.shadowed",
        4,
    ),
    Broken("empty index.yaml", {"index.yaml": ""}, "index.value", None, "refuses"),
    Broken("an index without properties", {"index.yaml": "indexes:\n- kind: A\n"}, "index.value", 2, "fails late"),
    Broken(
        "a property y",
        {"index.yaml": "indexes:\n- kind: A\n  properties:\n  - name: y\n  - name: b\n"},
        "index.value",
        4,
        "refuses",
    ),
    Broken(
        "an index of one property",
        {"index.yaml": "indexes:\n- kind: A\n  properties:\n  - name: b\n"},
        "index.single",
        2,
        "deploys",
    ),
    Broken(
        "an index twice",
        {"index.yaml": "indexes:\n" + "- kind: A\n  properties:\n  - name: b\n  - name: c\n" * 2},
        "index.twice",
        6,
    ),
    Broken("an unknown key in gaeport.toml", {"gaeport.toml": "ap = 1\n"}, "settings.value"),
    Broken(
        "a private address without a connector",
        {"gaeport.toml": 'app = "main:app"\n[cache]\nurl = "redis://10.0.0.3:6379/0"\n'},
        "settings.network",
    ),
    Broken(
        "a cache on this machine",
        {"gaeport.toml": 'app = "main:app"\n[cache]\nurl = "redis://127.0.0.1/0"\n'},
        "settings.network",
    ),
    Broken(
        "a stage in production's namespace", app("runtime", "service: shop-staging\nruntime"), "settings.namespace", 1
    ),
    Broken(
        "a mount that is a file", {"gaeport.toml": 'app = "main:app"\n[[mount]]\npath = "main.py"\n'}, "settings.mount"
    ),
    Broken(
        "a mount of objects without a bucket",
        {"gaeport.toml": 'app = "main:app"\n[[mount]]\npath = "media"\nstore = "gcs"\n'},
        "settings.mount",
    ),
    Broken("no .gcloudignore", {".gcloudignore": None}, "bundle.no-ignore-file"),
    Broken("skip_files", app("handlers:", "skip_files: [a]\nhandlers:"), "bundle.skip-files", 5, "refuses"),
    Broken("a secret in the upload", {".env": "A=1\n"}, "bundle.secret"),
    Broken(
        "a module left at home",
        {"main.py": "from shop import app\n", "shop.py": "app = 1\n", ".gcloudignore": "shop.py\n"},
        "bundle.missing",
    ),
)


def write(root: Path, broken: Broken) -> None:
    """Write the sound folder with one mistake."""
    for name, text in {**SOUND, **broken.files}.items():
        if text is not None:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


#: What App Engine does with what gcloud deploys.
AFTER = {
    "a runtime that never was": "the build fails: there is no such runtime",
    "a runtime that has ended": "the server refuses the version",
    "a key without a value": "the key is ignored",
    "resources of the flexible environment": "they are ignored",
    "entrypoint without gunicorn": "every instance ends at once; every request is a 500",
    "entrypoint of a missing module": "every instance ends at once; every request is a 500",
    "entrypoint of a missing name": "every instance ends at once; every request is a 500",
    "a fixed port": "App Engine waits at $PORT, gives up, and answers 500",
    "more workers than memory": "instances are ended for their memory, in the middle of requests",
    "no entrypoint and no main.py": "every instance ends at once; every request is a 500",
    "no entrypoint and no app in main.py": "every instance ends at once; every request is a 500",
    "an F class with basic scaling": "the server refuses the version",
    "a B class with automatic scaling": "the server refuses the version",
    "an unknown class": "the server refuses the version",
    "min over max instances": "the server refuses the version",
    "a CPU share of 2": "the server refuses the version",
    "no ceiling": "any number of instances may start, and be billed",
    "warmup with basic scaling": "no warm-up request ever comes",
    "a url that is no expression": "the server refuses the version",
    "a script of Python 2": "the server refuses the version",
    "login: admin": "nobody is asked to log in",
    "a static folder that is not there": "every file in it is a 404",
    "an upload that matches nothing": "every file of it is a 404",
    "a group that the url does not have": "every file of it is a 404",
    "a handler after one that takes all": "it is never reached",
    "a mount under a static folder": "what the application writes there is a 404",
    "a variable that turns into True": "the program reads 'True', not 'true'",
    "a password in clear": "everybody who may see the version reads it",
    "an emulator in production": "every call to Datastore fails",
    "a variable of App Engine's": "the server refuses the version, or its own value wins",
    "the bundled memcache switched off": "every call of memcache fails",
    "no requirements.txt": "nothing is installed; the entrypoint's program is missing",
    "a requirement that is none": "the build fails",
    "a requirement twice": "the build fails where the two contradict",
    "an editable requirement": "the build fails",
    "a wheel that is not there": "the build fails",
    "a password in requirements.txt": "everybody who may see the version's files reads it",
    "a pull queue": "the server refuses the queue; the version is live",
    "a queue twice": "one of the two counts",
    "a job in cron's own words": "the server refuses the jobs; the version is live",
    "a time zone that is none": "the server refuses the jobs; the version is live",
    "a job twice": "it runs twice",
    "a star inside a path": "the server refuses the rules; the version is live",
    "a rule after one that takes all": "it is never reached",
    "an index of one property": "the server refuses the index; the version is live",
    "an index twice": "the second changes nothing",
    "an unknown key in gaeport.toml": "the application does not start",
    "a private address without a connector": "every call waits until it is given up",
    "a cache on this machine": "every call fails",
    "a stage in production's namespace": "the stage reads and writes production's data",
    "a mount that is a file": "the application does not start",
    "a mount of objects without a bucket": "the application does not start",
    "no .gcloudignore": "gcloud writes one that lets tests, .env and virtual environments through",
    "a secret in the upload": "it lies in the bucket of the versions, and in the image",
    "a module left at home": "every instance ends at once; every request is a 500",
}

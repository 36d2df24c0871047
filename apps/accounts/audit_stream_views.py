"""Settings → Audit log → Streams: where the log is sent, whether it arrives, and what to do where it does not."""

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from apps.accounts.web import org_page
from apps.audit import selectors as audit
from apps.audit import services as audit_services
from apps.core.errors import MindWeaveError, NotFound
from apps.core.web.forms import add_problem

__all__ = ["audit_stream_act", "audit_streams"]


class StreamForm(forms.Form):
    """A receiver of the log."""

    name = forms.CharField(label="Name", max_length=120)
    url = forms.CharField(
        label="Address",
        max_length=500,
        help_text="https://… for a webhook, syslog+tls://host:6514 for syslog; +tcp and +udp too.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    format = forms.ChoiceField(label="Format", choices=[("json", "JSON, verifiable"), ("cef", "CEF, for a SIEM")])
    from_start = forms.BooleanField(label="From the oldest entry on", required=False)


@org_page(capability="audit.manage", title="Streams", key="settings")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def audit_streams(request: HttpRequest) -> HttpResponse:
    """``/o/<slug>/settings/audit/streams``: the streams and a form for another; a new one's secret is shown once."""
    form = StreamForm(request.POST or None)
    secret = ""
    if request.method == "POST" and form.is_valid():
        try:
            _, secret = audit_services.create_stream(org_id=request.org.id, **form.cleaned_data)  # type: ignore[attr-defined]
        except MindWeaveError as error:
            add_problem(form, error)
        else:
            form = StreamForm()
    return _page(request, form, secret)


def _page(request: HttpRequest, form: StreamForm, secret: str) -> HttpResponse:
    chain = audit.chain_status(request.org.id)  # type: ignore[attr-defined]
    head = chain.position if chain else 0
    streams = list(audit.stream_list().defer("secret", "former_secret"))
    context = {
        "tab": "audit",
        "form": form,
        "secret": secret,
        "rows": [(stream, max(0, head - stream.position)) for stream in streams],
    }
    return render(request, "accounts/audit_streams.html", context, status=400 if form.errors else 200)


@org_page(capability="audit.manage", title="Streams", key="settings")
@require_POST
def audit_stream_act(request: HttpRequest, stream_id: UUID, act: str) -> HttpResponse:
    """Test, pause, resume, give a new secret to, or delete a stream."""
    org = request.org  # type: ignore[attr-defined]
    asked: dict[str, Any] = {"org_id": org.id, "stream_id": stream_id}
    match act:
        case "test":
            error = audit_services.test_stream(**asked)
            if error:
                messages.error(request, f"The test did not arrive: {error}.")
            else:
                messages.success(request, "The test arrived.")
        case "pause" | "resume":
            state = "paused" if act == "pause" else "active"
            audit_services.update_stream(**asked, changes={"state": state})
            messages.success(request, "Paused: entries wait." if act == "pause" else "It goes on where it stood.")
        case "secret":
            return _page(request, StreamForm(), audit_services.rotate_stream_secret(**asked))
        case "delete":
            audit_services.delete_stream(**asked)
            messages.success(request, "Nothing is sent there any more.")
        case _:
            raise NotFound()
    return redirect("audit_streams", org.slug)

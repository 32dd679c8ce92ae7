"""Whose words the bodies of webhooks are written in."""

from batchyard.api.bolna.letters import render as render_for_bolna
from batchyard.api.bolna.translate import DOOR as BOLNA
from batchyard.api.operator.letters import DOOR as OPERATOR
from batchyard.api.operator.letters import render as render_for_operator
from batchyard.webhooks import Renderers

RENDERERS: Renderers = {BOLNA: render_for_bolna, OPERATOR: render_for_operator}

"""Charts as SVG text: data goes in, a picture comes out. Knows nothing of tuner, and needs no library and no script.

A chart takes the width of its container and the colours of `STYLE`, which a page holds once (light and dark);
`standalone` makes a file of its own of one or more charts.
"""

from tuner.charts.line import Rule, Series, line_chart
from tuner.charts.scale import Axis, Kind
from tuner.charts.style import STYLE
from tuner.charts.svg import standalone

__all__ = ["STYLE", "Axis", "Kind", "Rule", "Series", "line_chart", "standalone"]

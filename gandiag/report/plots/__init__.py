"""The figures of a report, one a file: `Plot.draw(view)` answers with a `Picture`, or None where there is no data.

A figure is themed SVG: it is drawn with the colours of `_canvas.PALETTE`, and these become CSS variables, so
that one drawing serves the light and the dark page. A new figure is one new file with one `@plot`.
"""

"""How the staff admin writes moments: in UTC, to the second, days as everywhere else in MindWeave.

The space inside a day does not break (U+00A0), so that a narrow column breaks between day and time.
"""

DATE_FORMAT = SHORT_DATE_FORMAT = "j\u00a0M\u00a0Y"
TIME_FORMAT = "H:i:s"
DATETIME_FORMAT = SHORT_DATETIME_FORMAT = f"{DATE_FORMAT}, {TIME_FORMAT}"

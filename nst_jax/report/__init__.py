"""What a person looks at: contact sheet and page."""

from nst_jax.report.page import write_report as write_report
from nst_jax.report.sheet import contact_sheet as contact_sheet

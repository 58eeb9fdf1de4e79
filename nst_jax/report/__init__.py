"""The report of a run: page, contact sheet, curves, videos and TensorBoard."""

from nst_jax.report.page import is_outdated as is_outdated
from nst_jax.report.page import remove_page as remove_page
from nst_jax.report.page import write_page as write_page
from nst_jax.report.report import write_report as write_report
from nst_jax.report.report import write_safely as write_safely
from nst_jax.report.report import write_tensorboard as write_tensorboard
from nst_jax.report.run_directory import RunDirectory as RunDirectory
from nst_jax.report.run_directory import read_run as read_run
from nst_jax.report.sheet import contact_sheet as contact_sheet

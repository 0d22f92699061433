"""What programs use around the session: tracing for a PEF, seeds, comparisons, measurements, process ranks."""

from sambaflow.samba._program.processes import fix_rdu_affinity, get_rank, get_world_size, is_main_process
from sambaflow.samba._program.support import SNType, create_mac_resource_report, get_file_dir, set_seed, weight_norm_
from sambaflow.samba._verbs.measure import measure_performance, measure_sections
from sambaflow.samba._verbs.trace import init_output_grads, trace_graph, trace_multigraph
from sambaflow.samba._verify.comparison import assert_close
from sambaflow.samba.utils import argparser, benchmark_acc, checkpoint, common, dataset, numeric, pef_utils

__all__ = [
    "SNType", "argparser", "assert_close", "benchmark_acc", "checkpoint", "common", "create_mac_resource_report",
    "dataset", "fix_rdu_affinity", "get_file_dir", "get_rank", "get_world_size", "init_output_grads",
    "is_main_process", "measure_performance", "measure_sections", "numeric", "pef_utils", "set_seed", "trace_graph",
    "trace_multigraph", "weight_norm_",
]  # fmt: skip

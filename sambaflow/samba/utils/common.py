"""The verbs that are the same in every program."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from torch import nn

from sambaflow.samba._verbs.measure import measure_performance, measure_sections
from sambaflow.samba._verbs.trace import trace_graph
from sambaflow.samba.session import current_session
from sambaflow.samba.utils.pef_utils import get_pefmeta


def common_app_driver(
    args: argparse.Namespace,
    model: nn.Module,
    inputs: Any,
    optim: Any = None,
    name: str | None = None,
    init_output_grads: bool | None = None,
    squeeze_bs_dim: bool = False,
    app_dir: str | None = None,
    get_output_grads: bool = True,
    metadata: Mapping[str, Any] | None = None,
    config_dict: Mapping[str, Any] | None = None,
    pef_metadata: Mapping[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Compile or measure, as the verb says; for `run` and `test`, which are the program's own, do nothing.

    Without `pef_metadata` the PEF keeps what get_pefmeta tells; further options go to the compile.
    """
    if args.command == "compile":
        return current_session().compile(
            model,
            inputs,
            optim,
            name=name,
            app_dir=app_dir,
            squeeze_bs_dim=squeeze_bs_dim,
            init_output_grads=init_output_grads,
            metadata=metadata,
            config_dict=config_dict or vars(args),
            pef_metadata=get_pefmeta(args, model) if pef_metadata is None else pef_metadata,
            **options,
        )
    if args.command == "measure-performance":
        trace_graph(model, inputs, optim, pef=args.pef, mapping=args.mapping)
        return measure_performance(
            model,
            inputs,
            args.batch_size,
            args.n_chips,
            args.inference,
            run_graph_only=args.run_graph_only,
            n_iterations=args.num_iterations,
            json=args.bench_report_json or args.json,
            min_duration=args.min_duration,
            data_parallel=args.data_parallel,
            reduce_on_rdu=args.reduce_on_rdu,
            compiled_stats_json=args.compiled_stats_json,
            json_counters=args.json_counters,
        )
    if args.command == "measure-sections":
        trace_graph(model, inputs, optim, pef=args.pef, mapping=args.mapping)
        json = args.bench_report_json or args.json
        return measure_sections(model, inputs, args.num_sections, args.num_iterations, args.batch_size, json=json)
    return None

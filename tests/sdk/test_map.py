"""Everything that SambaFlow programs are known to import, call or pass: it is there, and takes the arguments they give.

What each thing does is tested elsewhere in this folder; here no name and no option may be missing.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from ir.errors import UsageError
from sambaflow import samba
from sambaflow.samba.argconf.args import CompileArgs, RunArgs
from sambaflow.samba.utils.argparser import parse_app_args
from tests.sdk.programs import batch, classifier, compiled
from tests.sdk.test_session import sgd

NAMES = {
    "sambaflow": "__version__ is_demo",
    "sambaflow.samba": """
        session from_torch_model_(model,parent_module_prefix) from_torch_
        from_torch_tensor(torch_tensor,name,batch_dim,named_dims,sized_dims,region_name) from_torch
        from_named_dict to_torch to_torch_tensor SambaTensor randn(name,batch_dim,requires_grad,named_dims)
        randint(name,batch_dim,dtype,named_dims) rand(dtype,name,sized_dims)
        normal(name,named_dims,region_name) randn_like zeros ones arange full empty
        addmm(input,mat1,mat2,beta,alpha,out,is_transposed) triu_fill
        groupby(num_bins,capacity,samples_to_reset,with_hist_buffer,no_overflow_bin) patched_torch
        is_internal nn optim utils directives functional abs add argmax bitwise_not bmm cat cross_entropy
        cumsum div SambaSession
    """,
    "sambaflow.samba.sambatensor": """
        SambaTensor(torch_tensor,shape,dtype,name,batch_dim,named_dims,sized_dims,materializer,is_complex,region_name)
        from_torch_tensor
    """,
    "sambaflow.samba.sambatensor.SambaTensor": """
        data sn_grad grad sn_name sn_region_name sn_data batch_dim dtype shape size dim device host_memory
        mem_type has_data rdu cpu cpu_ torch torch_tensor bfloat16 float bool int long short to
        requires_grad requires_grad_ backward abs numpy mean clear_data data_ptr dsts __getitem__
        __setitem__
    """,
    "sambaflow.samba.nn": "Linear Conv2d Module SambaParameter",
    "sambaflow.samba.nn.Module": "run(inputs,section_types,grad_of_outputs)",
    "sambaflow.samba.nn.parameter": "SambaParameter(shape,dtype,materializer,requires_grad)",
    "sambaflow.samba.lazy_param": "lazy_param(quantized) RNGProviderFactory RNGProvider",
    "sambaflow.samba.materialize": "materialize",
    "sambaflow.samba.session": """
        compile(model,inputs,optimizers,name,app_dir,squeeze_bs_dim,init_output_grads,metadata,config_dict,pef_metadata,inference,is_split_batch,graph_transform_hook,io_host_memory)
        run(input_tensors,output_tensors,hyperparam_dict,section_types,grad_of_outputs,data_parallel,reduce_on_rdu,data_parallel_mode,graph_name,section_ids)
        to_cpu to_device to_rdu setup tracing get_tensors get_tensors_by_name tensor_dict buffer_dict
        optim_dict output_dict _traced_tensors add_graph
        compile_multigraph(name,config_dict,pef_metadata,enable_hypersection,inference)
        init_multigraph_runtime start_runtime_profile end_runtime_profile start_samba_profile
        end_samba_profile(filename) profiler get_dropout_rate_argin_names enable_pinned_memory
        disable_pinned_memory atexit_register reset use_static_functional _add_directives
        _context_directives add_aux_tensor is_valid_aux_tensor_name disable_graphamp dynamic_dims
        load_dynamic_dims_config create_dynamic_dim disable_lazy_param ctx
    """,
    "sambaflow.samba.utils": """
        trace_graph(model,inputs,optim,init_output_grads,loss_indices,pef,mapping,data_parallel_mode,transfer_device,config_dict,dev_mode,distlearn_config,squeeze_bs_dim)
        trace_multigraph(model,inputs,trace_prefix)
        init_output_grads(output_tensors,unspecified_tensor_grad,customized_tensors_dict,is_variable_batch_size)
        set_seed get_file_dir assert_close(threshold,rtol,visualize)
        measure_performance(batch_size,n_chips,inference,run_graph_only,n_iterations,json,compiled_stats_json,data_parallel,reduce_on_rdu,min_duration,use_sambaloader,set_output_grads,json_counters,world_size)
        measure_sections(num_sections,n_iterations,batch_size,json,data_parallel,reduce_on_rdu,min_duration)
        weight_norm_ get_rank get_world_size is_main_process fix_rdu_affinity SNType
        create_mac_resource_report
    """,
    "sambaflow.samba.utils.argparser": """
        parse_app_args(argv,dev_mode,common_parser_fn,test_parser_fn,run_parser_fn,compile_parser_fn)
        parse_yaml_to_args SambaConfig
    """,
    "sambaflow.samba.schema.snconfig": "SNConfig",
    "sambaflow.samba.utils.pef_utils": "get_pefmeta get_pefmeta_dict get_pef_info PefInfoStruct",
    "sambaflow.samba.utils.common": """
        common_app_driver(args, model, inputs, optim, name, init_output_grads, squeeze_bs_dim, app_dir,
        get_output_grads, metadata, config_dict)
    """,
    "sambaflow.samba.utils.dataset.mnist": "dataset_transform prepare_dataloader",
    "sambaflow.samba.utils.trainer.samba": "train",
    "sambaflow.samba.utils.trainer.torch": "train",
    "sambaflow.samba.utils.benchmark_acc": "AccuracyReport(val_metrics,train_metrics,batch_size,num_iterations)",
    "sambaflow.samba.utils.checkpoint": "load_sharded_checkpoint(ignore_dtype_mismatch)",
    "sambaflow.samba.utils.numeric": "MAX_BF16_TRUNCATE_NORMAL_REL",
    "sambaflow.samba.utils.tensorboard_debug": "dump_accuracy_debug_info",
    "sambaflow.samba.utils.read_perf_counters": "main",
    "sambaflow.samba.optim": """
        SGD(lr,momentum,weight_decay)
        AdamW(lr,betas,eps,weight_decay,amsgrad,max_grad_norm,fp32_params,argin_region_name) SparseAdamW
    """,
    "sambaflow.samba.optim.SGD": "state_dict load_state_dict zero_grad step add_param_group cpu rdu",
    "sambaflow.samba.optim.AdamW": "state_dict load_state_dict zero_grad step add_param_group cpu rdu",
    "sambaflow.samba.sambaloader": """
        SambaLoader(maxsize,function_hook,return_original_batch,ignore_dataloader_exception,timeout)
        DataLoaderException
    """,
    "sambaflow.samba.directives": """
        op_fusion(func_name, heuristic, heuristic_params, plugins, reuse_last_id, user_annotated) sdpa_directives
    """,
    "sambaflow.samba.graph": "FwdGraph SambaGraph",
    "sambaflow.samba.functional.stir": "sn_zipmapreduce(reduce_func,reduce_dim,stoc_accum) sn_imm sn_iteridx sn_select",
    "sambaflow.samba.functional": """
        arithmetic logical loss reduce tensorarithmetic tensorops stir functional_decorator_utils
    """,
    "sambaflow.samba.sn_private": """
        sn_scatter(rmw_op, unique_indices, batched_dims) sn_gather(batched_dims) sn_multinomial
    """,
    "sambaflow.samba.argconf.args": "CommonArgs CompileArgs RunArgs",
    "sambaflow.logging": "samba_logger",
    "sambaflow.sambacollections": "OrderedSet",
    "sambaflow.samba.env": """
        use_mock_samba_runtime enable_addbias_grad_accum_stoc enable_conv_grad_accum_stoc disable_sgd_stoc
    """,
    "sambaflow.samba.test": "consistency_test TestWithGold",
    "sambaflow.mac.metadata": "ConvTilingMetadata(original_size) TilingMetadata(original_size,num_tiles)",
    "sambaflow.samba.experiment_logger": "AccMeter DisplayMeter CountMeter Logger",
    "sambaflow.models.unet": "UNet",
    "sambaflow.samba.profiler": "Profiler",
    "sambaflow.samba.profiler.Profiler": """
        start_profile stop_profile start_event end_event event get_latencies get_throughputs _get_iter_times
        print_statistics(num_samples_per_iter,measurements)
    """,
}
"""By module, class or object: its attributes, and in brackets the keywords that programs pass."""

CONSTRUCTED = {"sambaflow.samba.sambatensor.SambaTensor": lambda: samba.SambaTensor(torch.zeros(1), name="x")}


def owner(path: str) -> Any:
    """What a path leads to; an instance where attributes are the instance's."""
    if path in CONSTRUCTED:
        return CONSTRUCTED[path]()
    parts = path.split(".")
    length = next(n for n in range(len(parts), 0, -1) if is_module(".".join(parts[:n])))
    found = importlib.import_module(".".join(parts[:length]))
    for name in parts[length:]:
        found = getattr(found, name)
    return samba.session if path == "sambaflow.samba.session" else found


def is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        return False
    return True


def loaded_session() -> None:
    """A PEF on the device: some attributes of the session tell of it."""
    model, inputs = classifier(), batch()
    optimizer = sgd(model.parameters())
    samba.utils.trace_graph(model, inputs, optimizer, pef=compiled(model, inputs, optimizer))


@pytest.mark.parametrize("path", NAMES)
def test_every_name_is_there_and_takes_its_keywords(path: str) -> None:
    if path == "sambaflow.samba.session":
        loaded_session()
    found, missing = owner(path), []
    for name, keywords in re.findall(r"(\w+)(?:\(([^)]*)\))?", NAMES[path]):
        if not hasattr(found, name):
            missing.append(name)
        elif keywords:
            parameters = inspect.signature(getattr(found, name)).parameters
            if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
                missing += [
                    f"{name}({keyword}=)" for keyword in keywords.replace(",", " ").split() if keyword not in parameters
                ]
    assert missing == []


def test_makers_of_tensors_take_the_keywords_that_they_hand_on() -> None:
    for make in (samba.randn, samba.rand, samba.zeros, samba.ones, samba.empty):
        tensor = make(2, 3, name="x", batch_dim=0, requires_grad=True, named_dims=("a", "b"))
        assert (tensor.sn_name, tensor.batch_dim, tensor.requires_grad) == ("x", 0, True)
    assert samba.rand([2, 3], dtype=torch.float32, name="x", sized_dims=None).shape == (2, 3)
    assert samba.normal(0.0, 1.0, (2, 3), name="x", named_dims=None, region_name="r").sn_region_name == "r"
    assert samba.randint(3, (2,), name="y", batch_dim=0, dtype=torch.int16, named_dims=None).dtype is torch.int16


COMPILE_OPTIONS = [
    "--pef-name p", "--output-folder o", "-b 4", "--batch-size 4", "-mb 2", "--microbatch-size 2", "--inference",
    "-p x.pef", "--pef x.pef", "--o0", "--o1", "--o3", "--optimization-rules r.yaml", "--n-chips 2", "--num-tiles 8",
    "--arch sn40", "--mapping spatial", "--num-spatial-batches 2", "--mac-v1", "--mac-v2",
    "--mac-human-decision h.json", "--compiler-configs-file c.json", "--compiler-configs c.json",
    "--resources-scaling-factors 1 2 3",
    "--weight-sharing", "--enable-conv-tiling", "--enable-tiling", "--enable-stoc-rounding",
    "--enable-stochastic-rounding", "--data-parallel", "-ws 2", "--world-size 2", "--tensor-parallel batch",
    "--graphamp-preset mp1", "--enable-mixed-precision-ops gemm softmax", "--plot", "--debug", "--verbose",
    "--log-level error", "--stage-instrumentation all_stage_cycles", "--include-read-stall-cycles",
    "--gen-tensorboard", "--disable-retry-lower-visible-resources", "--target-runtime-version 1.2.3",
    "--resources-check", "--enable-hypersection",
]  # fmt: skip
RUN_OPTIONS = [
    "-p x.pef", "--pef x.pef", "-b 4", "-mb 2", "--inference", "--mapping section", "--num-spatial-batches 2",
    "--n-chips 2", "--reduce-on-rdu", "--data-parallel-mode normal", "--distlearn-config c", "--log-level error",
]  # fmt: skip
MEASURE_OPTIONS = [
    "-n 3", "--num-iterations 3", "--run-graph-only", "--min-duration 1.5", "--bench-report-json b.json",
    "--json b.json", "--compiled-stats-json c.json", "--json-counters c.json", "--num-sections 2",
    "--use-sambaloader", "--visualize",
]  # fmt: skip
VERBS = {
    "compile": COMPILE_OPTIONS,
    "run": RUN_OPTIONS,
    "test": RUN_OPTIONS,
    "measure-performance": [*RUN_OPTIONS, *MEASURE_OPTIONS],
    "measure-sections": [*RUN_OPTIONS, *MEASURE_OPTIONS],
}


@pytest.mark.parametrize(("verb", "option"), [(verb, option) for verb, options in VERBS.items() for option in options])
def test_every_option_is_accepted_and_tells_its_value(verb: str, option: str) -> None:
    without, given = (vars(parse_app_args([verb, *words])) for words in ([], option.split()))
    changed = {key for key in given if given[key] != without[key]}
    defaults = {"--mapping section", "--data-parallel-mode normal"}
    assert len(changed) == (0 if option in defaults else 1), changed
    word = option.split()[0].lstrip("-").replace("-", "_")
    assert len(word) < 3 or changed <= {word, f"{word}_file"}


def test_options_of_the_program_stand_beside_short_ones_of_the_framework() -> None:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("-mbsize", type=int)
        parser.add_argument("-print", type=int)
        parser.add_argument("-lr", type=float)

    args = parse_app_args(
        ["run", "-mbsize", "3", "-mb", "2", "-print", "1", "-p", "a.pef", "-lr", ".1"], run_parser_fn=more
    )
    assert (args.mbsize, args.microbatch_size, args.print, args.pef, args.lr) == (3, 2, 1, "a.pef", 0.1)


FIELDS = """
    arch output_folder pef_name batch_size inference optim_level o1_experimental_opts optimization_rules
    use_o1_default_rules compiler_mode enable_mixed_precision_ops enable_multi_input_broadcast tiling_accum
    weight_grad_reduce use_air_ce all_regions_hbm hbm_auto_alloc num_tiles n_chips tensor_parallel data_parallel
    world_size enable_safe_stochastic_rounding compiler_configs_file optimize_concat_split enable_distribution_pass
    resources_scaling_factors enable_pcu_scaling skip_pnr_aware loop_conversion enable_coe run_early_tp verbose debug
    target_sambaflow_version samba_only
"""


def test_structured_arguments_have_every_field() -> None:
    assert [name for name in FIELDS.split() if name not in CompileArgs.model_fields] == []
    assert RunArgs(pef="x.pef", arch="sn30", something_new=3).model_dump()["something_new"] == 3


def test_auxiliary_tensors_have_names_of_their_own() -> None:
    tensor = torch.ones(2)
    assert samba.session.is_valid_aux_tensor_name("table")
    assert samba.session.add_aux_tensor(tensor, "table") is tensor
    assert not samba.session.is_valid_aux_tensor_name("table") and not samba.session.is_valid_aux_tensor_name("")
    with pytest.raises(UsageError, match="'table' cannot name an auxiliary tensor"):
        samba.session.add_aux_tensor(torch.zeros(2), "table")
    samba.session.reset()
    assert samba.session.is_valid_aux_tensor_name("table")


def test_dynamic_dimensions_are_recorded() -> None:
    assert samba.session.create_dynamic_dim("batch", 1, 8).options == {"values": [1, 8]}
    Path("dims.yaml").write_text("sequence: {max: 512}\nheads: 4\n")
    samba.session.load_dynamic_dims_config("dims.yaml")
    assert samba.session.dynamic_dims["sequence"].options == {"max": 512}
    assert samba.session.dynamic_dims["heads"].options == {"values": [4]}
    Path("dims.yaml").write_text("- 3")
    with pytest.raises(UsageError, match=r"dims\.yaml holds no mapping"):
        samba.session.load_dynamic_dims_config("dims.yaml")
    samba.session.reset()


def test_directives_count_inside_and_are_restored() -> None:
    with samba.session._add_directives({"a": 1}):
        with samba.session._add_directives({"a": 2, "b": 3}):
            assert samba.session._context_directives == {"a": 2, "b": 3}
        assert samba.session._context_directives == {"a": 1}
    assert samba.session._context_directives == {}


def test_inputs_know_their_readers_once_traced() -> None:
    model, (image, label) = classifier(), batch()
    assert image.dsts == []
    compiled(model, (image, label), inference=True)
    assert [reader.name.rpartition(".")[2] for reader in label.dsts] == ["cross_entropy"]
    assert label.dsts[0].inputs[-1] is label and label.dsts[0].inputs[0] is None
    assert image.dsts[0].inputs[0] is image


def test_tensors_of_the_device_are_written_by_name() -> None:
    loaded_session()
    name = "classifier__lin_layer__weight"
    shape = samba.session.get_tensors_by_name([name])[0].shape
    samba.session.ctx.set_tensors({name: torch.full(shape, 2.5).numpy()})
    assert samba.session.get_tensors_by_name([name])[0].data.unique().tolist() == [2.5]
    with pytest.raises(UsageError, match="no tensor called 'nothing'"):
        samba.session.ctx.set_tensors({"nothing": torch.zeros(1)})

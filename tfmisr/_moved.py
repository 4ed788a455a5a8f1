"""Old names of modules: they can be imported for one release, with a `DeprecationWarning`.

`import tfmisr.old` returns the module of the new name, so that classes and state exist only once. A finder in
`sys.meta_path` (PEP 451) handles the names below; `python -m tfmisr.study` works too.
"""

import importlib
import importlib.machinery
import importlib.util
import sys
import types
import warnings

MODULES = {
    "tfmisr.array_upscaler": "tfmisr.inference.array_upscaler",
    "tfmisr.attention": "tfmisr.layers.attention",
    "tfmisr.begun": "tfmisr.config.compatibility",
    "tfmisr.blank": "tfmisr.data.exact_images",
    "tfmisr.collapsible": "tfmisr.layers.collapsible",
    "tfmisr.download": "tfmisr.data.download",
    "tfmisr.enlarging": "tfmisr.inference.batch",
    "tfmisr.equalize": "tfmisr.quantization.equalization",
    "tfmisr.loss_expression": "tfmisr.losses.expression",
    "tfmisr.luma": "tfmisr.inference.luma",
    "tfmisr.pipeline": "tfmisr.data.pipeline",
    "tfmisr.preparation": "tfmisr.data.preparation",
    "tfmisr.protocol": "tfmisr.evaluation.protocol",
    "tfmisr.receptive_field": "tfmisr.layers.receptive_field",
    "tfmisr.registered_layers": "tfmisr.layers.registration",
    "tfmisr.rows": "tfmisr.quantization.plain_network",
    "tfmisr.scoring": "tfmisr.evaluation.scoring",
    "tfmisr.series_scales": "tfmisr.inference.series_scales",
    "tfmisr.statistics": "tfmisr.evaluation.statistics",
    "tfmisr.tfio_dicom": "tfmisr.data.tfio_dicom",
    "tfmisr.upscalers": "tfmisr.inference.upscalers",
    "tfmisr.verdicts": "tfmisr.evaluation.verdicts",
    "tfmisr.words": "tfmisr.edge.text",
    "tfmisr.edge.orientations": "tfmisr.edge.dihedral",
    "tfmisr.edge.derived.fidelity": "tfmisr.edge.derived.downsampling_consistency",
    "tfmisr.edge.derived.admission": "tfmisr.edge.derived.eligibility",
    "tfmisr.edge.derived.hygiene": "tfmisr.edge.derived.removed_attributes",
    "tfmisr.edge.derived.reading": "tfmisr.edge.dicom_file",
    "tfmisr.edge.quiet": "tfmisr.edge.stderr_filter",
    "tfmisr.export.degenerate": "tfmisr.export.zero_range",
    "tfmisr.losses.mixture": "tfmisr.losses._mixture",
    "tfmisr.metrics.collection": "tfmisr.metrics._collection",
    "tfmisr.metrics.features": "tfmisr.metrics._features",
    "tfmisr.metrics.inception": "tfmisr.metrics._inception",
    "tfmisr.metrics.region": "tfmisr.metrics._region",
    "tfmisr.metrics.torch_file": "tfmisr.metrics._torch_file",
    "tfmisr.metrics.weights": "tfmisr.metrics._weights",
    "tfmisr.metrics.windows": "tfmisr.metrics.ct_windows",
    "tfmisr.models.cost": "tfmisr.models._cost",
    "tfmisr.presets.finish": "tfmisr.presets.finetune_mse",
    "tfmisr.presets.finish_int8": "tfmisr.presets.finetune_int8",
    "tfmisr.report": "tfmisr.evaluation",
    "tfmisr.study": "tfmisr.reader_study",
    "tfmisr.study.commands.analyse": "tfmisr.reader_study.commands.analyze",
    "tfmisr.study.report.words": "tfmisr.reader_study.report.sentences",
    "tfmisr.study.statistics.invented": "tfmisr.reader_study.statistics.simulated_export",
    "tfmisr.tuning.studies": "tfmisr.tuning.parameter_studies",
    "tfmisr.tuning.study_plots": "tfmisr.tuning.parameter_study_plots",
    "tfmisr.tuning.study_report": "tfmisr.tuning.parameter_study_report",
    "tfmisr.tuning.study_statistics": "tfmisr.tuning.parameter_study_statistics",
}


def new_name(name: str) -> str | None:
    """Returns the new name of a module of the previous release; `None` if it was not moved."""
    head, tail = name, ""
    while head not in MODULES:
        head, dot, last = head.rpartition(".")
        tail = f"{dot}{last}{tail}"
        if not head:
            return None
    return MODULES[head] + tail


class _Finder:
    """Finds the modules of `MODULES`, and the modules of packages that were moved."""

    @staticmethod
    def find_spec(name: str, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        new = new_name(name) if name.startswith("tfmisr.") else None
        spec = importlib.util.find_spec(new) if new else None
        if spec is None:
            return None
        is_package = spec.submodule_search_locations is not None
        return importlib.machinery.ModuleSpec(name, _Loader(spec), origin=spec.origin, is_package=is_package)


class _Loader:
    """Loads a module by its old name as the module of the new name.

    Args:
        spec: Spec of the module under its new name.
    """

    def __init__(self, spec: importlib.machinery.ModuleSpec):
        self._spec = spec

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Warns, imports the module under its new name and returns it."""
        warnings.warn(f"{spec.name} is now {self._spec.name}", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(self._spec.name)
        # The import system overwrites these attributes with those of the old name.
        self._attributes = {name: getattr(module, name, None) for name in ("__spec__", "__loader__", "__package__")}
        return module

    def exec_module(self, module: types.ModuleType) -> None:
        """Restores the module's attributes; it was executed under its new name."""
        vars(module).update(self._attributes)

    def get_code(self, name: str):
        """Returns the code of the module for `python -m`, which alone calls this, after a line on stderr.

        A `DeprecationWarning` is not shown by default, and who types a command need not know Python's switches.
        """
        old, new = (module.removesuffix(".__main__") for module in (name, self._spec.name))
        print(f"python -m {old} is now python -m {new}", file=sys.stderr)
        return self._spec.loader.get_code(self._spec.name)


def install() -> None:
    """Installs the finder; called by `tfmisr` when it is imported."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)

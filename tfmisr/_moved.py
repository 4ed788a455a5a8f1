"""Modules of the previous release under their old names: they import for one release and warn.

`import tfmisr.old` gives the module itself under both names, so that classes and state exist once. One finder in
`sys.meta_path` (PEP 451) does it for the names below, and for nothing else; `python -m tfmisr.study` works too.
"""

import importlib
import importlib.machinery
import importlib.util
import sys
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
    "tfmisr.edge.derived.hygiene": "tfmisr.edge.derived.removed_attributes",
    "tfmisr.export.degenerate": "tfmisr.export.zero_range",
    "tfmisr.models.cost": "tfmisr.models._cost",
    "tfmisr.presets.finish": "tfmisr.presets.finetune_mse",
    "tfmisr.presets.finish_int8": "tfmisr.presets.finetune_int8",
    "tfmisr.report": "tfmisr.evaluation",
    "tfmisr.study": "tfmisr.reader_study",
    "tfmisr.study.statistics.invented": "tfmisr.reader_study.statistics.hallucinated",
    "tfmisr.tuning.studies": "tfmisr.tuning.parameter_studies",
    "tfmisr.tuning.study_plots": "tfmisr.tuning.parameter_study_plots",
    "tfmisr.tuning.study_report": "tfmisr.tuning.parameter_study_report",
    "tfmisr.tuning.study_statistics": "tfmisr.tuning.parameter_study_statistics",
}


def new_name(name: str) -> str | None:
    """Returns today's name of a module of the previous release, `None` where it was not moved."""
    head, tail = name, ""
    while head not in MODULES:
        head, dot, last = head.rpartition(".")
        tail = f"{dot}{last}{tail}"
        if not head:
            return None
    return MODULES[head] + tail


class _Finder:
    """Finds the modules of `MODULES`, and those inside a package that was moved."""

    @staticmethod
    def find_spec(name: str, path=None, target=None):
        """See `importlib.abc.MetaPathFinder`."""
        new = new_name(name) if name.startswith("tfmisr.") else None
        found = importlib.util.find_spec(new) if new else None
        if found is None:
            return None
        is_package = found.submodule_search_locations is not None
        return importlib.machinery.ModuleSpec(name, _Loader(found), origin=found.origin, is_package=is_package)


class _Loader:
    """Gives the module under its new name as the one of the old name."""

    def __init__(self, found: importlib.machinery.ModuleSpec):
        self._found = found

    def create_module(self, spec):
        """Imports the module under its new name and returns it, after a warning."""
        warnings.warn(f"{spec.name} is now {self._found.name}", DeprecationWarning, stacklevel=2)
        module = importlib.import_module(self._found.name)
        # The import system is about to write the old spec over these.
        self._kept = {name: getattr(module, name, None) for name in ("__spec__", "__loader__", "__package__")}
        return module

    def exec_module(self, module) -> None:
        """Leaves the module as it is: it was executed under its new name."""
        vars(module).update(self._kept)

    def get_code(self, name: str):
        """Returns the code of the module, for `python -m`."""
        return self._found.loader.get_code(self._found.name)


def install() -> None:
    """Makes the old names importable; called once by `tfmisr`."""
    if _Finder not in sys.meta_path:
        sys.meta_path.insert(0, _Finder)

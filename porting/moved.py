"""Lists import paths of plug-ins that have moved: an older `edge.yaml` or command line may still say them."""

MOVED = {
    # policies and wrappers around them
    "edge.policies.admission:Admission": "edge.policies.wrappers.admission_control:AdmissionControl",
    "edge.policies.background:Background": "edge.policies.wrappers.background_share:BackgroundShare",
    "edge.policies.burst:Burst": "edge.policies.wrappers.cloud_burst:CloudBurst",
    "edge.policies.complete:complete": "edge.policies.wrappers.default_stack:complete",
    "edge.policies.resident:Resident": "edge.policies.wrappers.model_loading:ModelLoading",
    "edge.policies.straggle:Straggle": "edge.policies.wrappers.straggler_mitigation:StragglerMitigation",
    "edge.policies.stream_admission:StreamAdmission": "edge.policies.wrappers.stream_admission:StreamAdmission",
    # drift.detectors
    "drift.detectors.bbsds:Bbsds": "drift.detection.bbsds:Bbsds",
    "drift.detectors.bbsds:BbsdsGivenClass": "drift.detection.bbsds:BbsdsGivenClass",
    "drift.detectors.class_prior:ClassPrior": "drift.detection.class_prior:ClassPrior",
    "drift.detectors.mean_confidence:MeanConfidence": "drift.detection.mean_confidence:MeanConfidence",
    # drift.responses
    "drift.responses.head:HeadRetraining": "drift.repair.retrain_head:HeadRetraining",
    "drift.responses.prior:PriorReweighting": "drift.repair.prior_reweighting:PriorReweighting",
    "drift.responses.realign:Realign": "drift.repair.realign_statistics:Realign",
    "drift.responses.recall:Recall": "drift.repair.recall_variant:Recall",
    # leeway port --pass
    "porting.passes.no_ops:NoOps": "porting.graph.no_ops:NoOps",
}

"""The funnels that every installation has; a definition of the same name takes their place."""

from __future__ import annotations

from projections.funnels.definition import Definition

_STEPS = {
    "onboarding": ("signup", "verify_email", "kyc_upload", "kyc_approved", "first_deposit"),
    "trading": ("view_market", "place_order", "order_confirmed", "position_opened"),
    "transfer": ("initiate_transfer", "confirm_amount", "authenticate", "transfer_complete"),
    "auto_invest": ("view_rules", "create_rule", "test_rule", "activate_rule"),
}

GIVEN: dict[str, Definition] = {
    name: Definition.model_validate({"name": name, "steps": [{"name": step} for step in steps]})
    for name, steps in _STEPS.items()
}

INSERT INTO lifecycle_policy (name, kind, purchase_event, adaptive, at_risk_after, churned_after, at_risk_gaps, churned_gaps, prior_gap, prior_weight, at_risk_min, at_risk_max, churned_min, churned_max)
VALUES ('weekly', 'account', 'purchase', true, '10 days', '20 days', 2, 5, '30 days', 1, '7 days', '100 days', '21 days', '200 days');

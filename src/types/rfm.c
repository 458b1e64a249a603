/*-------------------------------------------------------------------------
 *
 * rfm.c
 *	  Recency, frequency and money of a timeline.
 *
 * Copyright (c) 2026, marketing_cdp contributors
 *
 * IDENTIFICATION
 *	  src/types/rfm.c
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <math.h>


#include "types/rfm.h"

void
mcdp_rfm_values_between(const TimelineView *v, int event, const bool *labels,
				TimestampTz since, TimestampTz until, RfmValues *values)
{
	uint32		end = mcdp_timeline_first_after(v, until);
	bool		decimal = v->values != NULL && v->value_encoding != TIMELINE_VALUE_FLOAT4 &&
		v->value_encoding != TIMELINE_VALUE_FLOAT8;
	int64		units = 0;		/* of 1 / value_divisor; up to 2^32 each */
	double		sum = 0,
				lost = 0;

	values->frequency = 0;
	values->last = 0;
	values->monetary = 0;
	if (event < 0)
		return;
	for (uint32 i = mcdp_timeline_first_after(v, since); i < end; i++)
	{
		TimestampTz at;
		double		value;

		MCDP_CHECK_EVERY(i);
		if (timeline_event_code(v, i) != (uint32) event)
			continue;
		if (labels != NULL)
		{
			uint32		label = timeline_label_code(v, i);

			if (label == TIMELINE_NO_LABEL || !labels[label])
				continue;
		}
		at = timeline_at(v, i);
		if (values->frequency == 0 || at != values->last)
			values->frequency++;
		values->last = at;
		if (!timeline_value(v, i, &value))
			continue;
		if (decimal)
			units += (int64) rint(value * v->value_divisor);
		else
		{
			double		total = sum + value;

			lost += fabs(sum) >= fabs(value) ? (sum - total) + value : (value - total) + sum;
			sum = total;
		}
	}
	if (decimal)
		values->monetary = (double) units / v->value_divisor;
	else
		values->monetary = isfinite(sum) ? sum + lost : sum;
}

"""A provider simulator that answers like the HTTP APIs of Replicate and WaveSpeed, makes real media, and misbehaves.

The routes under `/v1`, their fields, statuses, error bodies, limits and retention follow Replicate's HTTP reference
and its pages on webhooks, rate limits and data retention. Answers show only what the real API shows: the webhook URL,
for example, is never echoed. Left out: `Prefer: wait`, streaming, trainings and the model catalogue.

The routes under `/api/v3` are WaveSpeed's and follow its pages on submitting, results, webhooks and their verification.
They share the clock and the census: a WaveSpeed task is a prediction in other words (task.py). There the whole body is
the input, with the fields below in it. Left out: `enable_sync_mode`, its list and its deletion.

The optional object `input["simulate"]` chooses how a prediction behaves. All its fields are optional:

| field           | values (default first)                     | effect                                                |
| --------------- | ------------------------------------------ | ----------------------------------------------------- |
| `seconds`       | 2.0                                        | how long it runs once started                         |
| `start_delay`   | 0.3                                        | how long it stays `starting`                          |
| `outcome`       | succeed, fail, stall                       | stall: `processing` until cancelled or its deadline   |
| `error`         | "The model raised an exception."           | the error text of a failed prediction                 |
| `fail_times`    | 0                                          | the first n predictions of this model and prompt fail |
| `create`        | accept, 401, 402, 403, 404, 422, 429, 500, | how the create call is answered: see below            |
|                 | 503, drop_before, hang, apply_then_drop,   |                                                       |
|                 | apply_then_hang                            |                                                       |
| `create_times`  | unlimited                                  | `create` concerns only the first n creates of this    |
|                 |                                            | model and prompt; later ones are accepted             |
| `retry_after`   | none                                       | seconds, in header and body of a 429                  |
| `webhook`       | ok, lose, duplicate, delay, late, overtake | how its webhooks travel: see below                    |
| `webhook_delay` | 5.0                                        | seconds between completion and webhook (delay, late)  |
| `output`        | mp4, png, text, list                       | one video URL, one image URL, a text, two image URLs  |
| `group`         | none                                       | labels for the census: a list, or "user:ada,queue:hd" |

* `create`: `drop_before` closes the connection and creates nothing; `hang` creates nothing and never answers;
  `apply_then_drop` and `apply_then_hang` do the same after creating the prediction.
* `webhook`: `lose` sends none; `duplicate` sends the terminal one twice; `delay` and `late` wait `webhook_delay`;
  `overtake` finishes the prediction at once and has its webhook answered before the create call returns.

The same fields posted to `/-/behaviour` become the default of the next creates; an input's own fields override it.
"""

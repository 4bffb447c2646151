"""Decides: events in, actions out. This page tells the states of a task, a lane and a version, and who moves them.

A **request** is opened by `Arrived` and leaves by exactly one `Reply`. Until then it has **tasks**: one for each model
that works on it, each walking a chain of stages. A **lane** runs one batch of tasks at a time, which is a **work**. A
**version** is a variant of a model that serves, has served, or is to serve.

Each table lists every change that there is; `tests/edge/core/test_states.py` compares them with what the code does
under random events and faults. "by" names the function that makes the change.

A task. `waiting`: in the queue of its next stage. `running`: in a work on a lane. `finished`: its last stage is done.
`lost`: it failed, cannot be in time, or cannot be run; its request may be answered without it. `unwanted`: its
request was answered meanwhile.

    | task     | becomes  | by            | when                                                            |
    |----------|----------|---------------|-----------------------------------------------------------------|
    | new      | waiting  | _open_task    | a request arrives, or a task's result leads to more             |
    | waiting  | running  | _begin        | the policy said `Run`                                           |
    | running  | waiting  | back          | another stage follows; or its work was stopped, failed once, or lost |
    | running  | finished | advance       | its last stage is done                                          |
    | running  | lost     | give_up       | it is at fault, the daemon stops, or no lane can run the rest   |
    | running  | unwanted | back          | its work is over, and its request was answered already          |
    | waiting  | lost     | drop          | the policy said `Reply` before its deadline: it cannot be in time |
    | waiting  | lost     | give_up       | no lane can ever run it, or its version had to leave            |
    | waiting  | waiting  | clear_the_way | its version has to leave: it goes over to the one that serves   |
    | waiting  | unwanted | reply         | its request is answered, came too late, is withdrawn or stopped |

A lane. It may load a stage while it is `idle` or `busy`.

    | lane     | becomes  | by            | when                                                            |
    |----------|----------|---------------|-----------------------------------------------------------------|
    | absent   | idle     | change        | `LaneUp`: nothing is loaded there yet                           |
    | idle     | busy     | _begin        | the policy said `Run`                                           |
    | busy     | idle     | _end          | `Finished`, `Failed` or `Stopped`                               |
    | idle     | absent   | lane_down     | `LaneDown`                                                      |
    | busy     | absent   | lane_down     | `LaneDown`: its tasks wait again                                |

A version. `pending`: to serve as soon as it is loaded. `serving`: new tasks walk it. `former`: it has to leave memory
before its successor can be loaded, and serves again if that cannot be. `given up`: it will not serve. `past`: replaced.

    | version  | becomes  | by            | when                                                            |
    |----------|----------|---------------|-----------------------------------------------------------------|
    | new      | pending  | serve         | `Served`: the pointer moved                                     |
    | past     | pending  | serve         | the pointer moved back, a rollback                              |
    | given up | pending  | serve         | it is tried once more                                           |
    | former   | pending  | serve         | the pointer moved back before the successor was loaded          |
    | pending  | past     | serve         | the pointer moved again before it was loaded                    |
    | pending  | serving  | switch        | it is loaded, the first of its model, or has no room to wait in |
    | pending  | serving  | displace      | it is to serve though it is not loaded: the old one has to leave first |
    | serving  | past     | switch        | its successor serves                                            |
    | serving  | former   | displace      | its successor serves, and is loaded once this one has left      |
    | former   | past     | settle        | its successor is loaded                                         |
    | former   | past     | displace      | a third version displaced its successor                         |
    | pending  | given up | abandon       | no lane can take it, or there is no room for it beside the old one |
    | pending  | given up | load_failed   | a stage of it could not be loaded                               |
    | serving  | given up | load_failed   | the old version left for it, and then it could not be loaded    |
    | former   | serving  | load_failed   | its successor could not be loaded                               |
    | given up | past     | abandon       | another version was given up after it                           |
    | given up | past     | load_failed   | another version was given up after it                           |
    | given up | past     | switch        | another version serves: its trouble is forgotten                |
    | given up | past     | displace      | another version serves: its trouble is forgotten                |
"""

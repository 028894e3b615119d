"""What PyTorch's optimisers keep of a parameter."""

import torch

MOMENTS = {"exp_avg": 1, "exp_avg_sq": 2, "max_exp_avg_sq": 2}
OPTIMIZERS = {  # of torch.optim -> state -> the power of the gradient that it is, or what else
    "SGD": {"momentum_buffer": 1}, "Adam": MOMENTS, "NAdam": MOMENTS, "RAdam": MOMENTS,
    "Adamax": {"exp_avg": 1, "exp_inf": 1}, "RMSprop": {"square_avg": 2, "grad_avg": 1, "momentum_buffer": 0},
    "Adagrad": {"sum": 2}, "Adadelta": {"square_avg": 2, "acc_delta": None}, "ASGD": {"ax": None},
    "Rprop": {"prev": 1, "step_size": None},
}  # fmt: skip


def powers_of(optimizer: torch.optim.Optimizer, growing: list[torch.Tensor]) -> dict[str, int | None]:
    """What is known of the optimiser's state: {its name: the power of the gradient that it is, None: something else}.

    Raises ``ValueError`` if it holds none of the ``growing`` parameters, or keeps something that is not known.
    """
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not any(id(tensor) in held for tensor in growing):
        hint = "make it from this model's parameters, before growing"
        raise ValueError(f"the optimizer holds none of the parameters that grow, it was made for another model: {hint}")
    bases = [base for base in type(optimizer).__mro__ if getattr(torch.optim, base.__name__, None) is base]
    powers = next((OPTIMIZERS[base.__name__] for base in bases if base.__name__ in OPTIMIZERS), {})
    for parameter, state in optimizer.state.items():
        kept = [key for key, value in state.items() if isinstance(value, torch.Tensor) and value.dim()]
        odd = [key for key in kept if key not in powers or state[key].shape != parameter.shape] if powers else [*state]
        if odd:
            what = f"the state of {type(optimizer).__name__} cannot grow ({', '.join(odd)})"
            raise ValueError(f"{what}: use an optimizer such as {', '.join(OPTIMIZERS)}")
    return powers

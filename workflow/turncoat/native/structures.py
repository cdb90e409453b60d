"""The structures of the kernels, field by field. What the fields are is said in the files in C."""

import ctypes
from ctypes import c_float, c_int64, c_void_p


class Step(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("members", "rows", "inputs", "width", "depth", "columns", "outputs")),
        ("inputs_turned", c_int64),
        ("x", c_void_p),
        ("x_stride", c_int64),
        ("hidden_stride", c_int64),
        *((name, c_void_p) for name in ("weights", "biases", "weight_parts", "bias_parts", "hidden")),
        *((name, c_void_p) for name in ("output", "output_gradient", "delta", "other", "products")),
    ]


class Loss(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("options", "episodes", "chosen")),
        ("share", c_void_p),
        ("log_share", c_void_p),
        ("targets", c_void_p),
        ("target_strides", c_int64 * 2),
        ("rewards", c_void_p),
        ("reward_strides", c_int64 * 3),
        ("entropy_bonus", c_float),
        ("world_column", c_int64),
        ("attributes", c_int64),
        ("values", c_void_p),
        ("value_strides", c_int64 * 4),
        ("world_scale", c_float),
        *((name, c_void_p) for name in ("gradient", "exponential", "logarithm", "exponentials")),
    ]


class Adam(ctypes.Structure):
    _fields_ = [
        *((name, c_void_p) for name in ("weight_means", "bias_means", "weight_squares", "bias_squares")),
        *((name, c_float) for name in ("beta1_rest", "beta2", "beta2_rest")),
        *((name, c_float) for name in ("square_correction", "epsilon", "step_size")),
    ]


class Utilities(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("members", "steps", "attributes", "options", "episodes")),
        ("values", c_void_p),
        ("objectives", c_void_p),
        ("strides", c_int64 * 4),
        ("utilities", c_void_p),
    ]


class Part(ctypes.Structure):
    _fields_ = [("numbers", c_void_p), ("count", c_int64), ("strides", c_int64 * 4)]


class Layout(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("members", "options", "episodes", "attributes", "symbols", "parts")),
        ("pairs", c_void_p),
        ("pair_strides", c_int64 * 3),
        ("shown", c_void_p),
        ("out", c_void_p),
        ("out_strides", c_int64 * 3),
    ]


class Logit(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("models", "features", "episodes")),
        *((name, c_void_p) for name in ("differences", "weights", "chosen", "coefficients", "rows", "sums")),
        *((name, c_void_p) for name in ("products", "exponentials")),
    ]


class Scoring(ctypes.Structure):
    _fields_ = [
        *((name, c_int64) for name in ("options", "available", "block", "inputs", "numbers")),
        *((name, c_int64) for name in ("depth", "contexts", "columns")),
        *((name, c_void_p) for name in ("widths", "lengths", "shown", "context", "scores")),
        *((name, c_void_p) for name in ("of_options", "of_context", "weights", "biases", "readout")),
        ("offset", c_float),
        *((name, c_void_p) for name in ("shared", "added", "values", "others", "found", "products")),
    ]


STRUCTURES = (Step, Loss, Adam, Utilities, Part, Layout, Logit, Scoring)

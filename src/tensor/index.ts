/** Tensors, scopes and the autograd tape. */
export { Runtime } from "./runtime.ts";
export { Parameter, type ParameterRole, Storage, Tensor } from "./tensor.ts";

/** Tensors, scopes and the autograd tape. */
export type { OpObservation, OpObserver } from "./observe.ts";
export { Runtime } from "./runtime.ts";
export { Parameter, type ParameterRole, Storage, Tensor } from "./tensor.ts";

/** ONNX models, written (`bitnet.ts/formats/onnx`): a graph's nodes and initialisers to a file. docs/onnx.md. */
export { type Attribute, Graph, type Initializer, type OnnxType, type ValueInfo } from "./graph.ts";
export { type OnnxOptions, writeOnnx } from "./writer.ts";

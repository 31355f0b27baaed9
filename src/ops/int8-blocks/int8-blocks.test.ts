// Oracles: reference.ts, to the bit; and the codec of GGUF's Q8_0 (quant/q8-0.ts), itself held to llama.cpp's, decoded.
import { testBlockQuantizer } from "../../../test/support/block-quantizer.ts";
import { int8Blocks } from "./index.ts";
import { quantizeInt8Blocks } from "./reference.ts";

testBlockQuantizer(int8Blocks, "Q8_0", quantizeInt8Blocks);

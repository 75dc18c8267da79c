#pragma once

#include <string>

namespace few_rows {

// Makes "FewRowsMatMul" an op of this process's TensorFlow, once. Returns the instructions that it uses; "" where this processor has none that it knows,
// and then there is no such op.
std::string RegisterOp();

}  // namespace few_rows

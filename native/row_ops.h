#pragma once

#include <string>

namespace row_ops {

// Makes the ops of row_ops.cc ops of this process's TensorFlow, once. Returns the instructions that they use; "" where this processor has none that they
// know, and then there are no such ops.
std::string RegisterRowOps();

}  // namespace row_ops

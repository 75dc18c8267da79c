// TensorFlow's op "FewRowsMatMul": x Wᵀ by few_rows.h, registered through TensorFlow's C API for kernels, as a plug-in's ops are.
//
//     FewRowsMatMul(x: float [N, in], w: T [out, in], scale: S * float [out]) -> float [N, out]     T: float, bfloat16, int8; S: 0 or 1
#pragma GCC optimize("O3")  // the addon is compiled with -O2, which keeps the sums of the inner loops in memory
#include "few_rows.h"
#include "few_rows_op.h"

#include <mutex>
#include <string>

#include "tensorflow/c/ops.h"
#include "tensorflow/c/tf_datatype.h"
#include "tensorflow/c/tf_status.h"
#include "tensorflow/c/tf_tensor.h"

// Of tensorflow/c/kernels.h, which includes headers that are not in a staged runtime.
extern "C" {
struct TF_KernelBuilder;
struct TF_OpKernelConstruction;
struct TF_OpKernelContext;
TF_KernelBuilder *TF_NewKernelBuilder(const char *op_name, const char *device_name, void *(*create)(TF_OpKernelConstruction *),
                                      void (*compute)(void *, TF_OpKernelContext *), void (*destroy)(void *));
void TF_RegisterKernelBuilder(const char *kernel_name, TF_KernelBuilder *builder, TF_Status *status);
int TF_NumInputs(TF_OpKernelContext *context);
void TF_GetInput(TF_OpKernelContext *context, int i, TF_Tensor **tensor, TF_Status *status);
TF_Tensor *TF_AllocateOutput(TF_OpKernelContext *context, int index, TF_DataType dtype, const int64_t *dims, int num_dims, size_t len,
                             TF_Status *status);
void TF_OpKernelContext_Failure(TF_OpKernelContext *context, TF_Status *status);
}

namespace few_rows {
#ifdef FEW_ROWS_SUPPORTED
namespace {

constexpr char kOp[] = "FewRowsMatMul";

struct Status {
  TF_Status *const status = TF_NewStatus();
  ~Status() { TF_DeleteStatus(status); }
  bool ok() const { return TF_GetCode(status) == TF_OK; }
};

struct Input {
  TF_Tensor *tensor = nullptr;
  ~Input() {
    if (tensor) TF_DeleteTensor(tensor);
  }
  size_t dim(int i) const { return static_cast<size_t>(TF_Dim(tensor, i)); }
};

// [x's rows] ++ [w's rows]
void InferShape(TF_ShapeInferenceContext *context, TF_Status *status) {
  TF_ShapeHandle *const shapes[] = {TF_NewShapeHandle(), TF_NewShapeHandle(), TF_NewShapeHandle()};
  for (int i = 0; i < 2 && TF_GetCode(status) == TF_OK; i++) {
    TF_ShapeInferenceContextGetInput(context, i, shapes[i], status);
    if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextWithRank(context, shapes[i], 2, shapes[i], status);
    if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSubshape(context, shapes[i], 0, 1, shapes[i], status);
  }
  if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextConcatenateShapes(context, shapes[0], shapes[1], shapes[2], status);
  if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSetOutput(context, 0, shapes[2], status);
  for (TF_ShapeHandle *shape : shapes) TF_DeleteShapeHandle(shape);
}

std::string ShapeOf(const Input &input) {
  std::string shape = "[";
  for (int i = 0; i < TF_NumDims(input.tensor); i++) shape += (i ? "," : "") + std::to_string(TF_Dim(input.tensor, i));
  return shape + "]";
}

// Whether the operands fit each other; if not, `status` says what does not.
bool Check(const Input &x, const Input &w, const Input *scale, TF_Status *status) {
  const TF_DataType type = TF_TensorType(w.tensor);
  std::string wrong;
  if (TF_NumDims(x.tensor) != 2 || TF_NumDims(w.tensor) != 2 || x.dim(1) != w.dim(1)) {
    wrong = "expected x [N, in] and w [out, in], got " + ShapeOf(x) + " and " + ShapeOf(w);
  } else if ((scale != nullptr) != (type == TF_INT8)) {
    wrong = "a scale goes with int8 weights, and with no other";
  } else if (scale && (TF_NumDims(scale->tensor) != 1 || scale->dim(0) != w.dim(0))) {
    wrong = "expected a scale for each of w's rows, got " + ShapeOf(*scale) + " for " + ShapeOf(w);
  }
  if (!wrong.empty()) TF_SetStatus(status, TF_INVALID_ARGUMENT, (std::string(kOp) + ": " + wrong).c_str());
  return wrong.empty();
}

void Compute(void *, TF_OpKernelContext *context) {
  Status status;
  Input x, w, scale;
  const bool scaled = TF_NumInputs(context) == 3;
  TF_GetInput(context, 0, &x.tensor, status.status);
  if (status.ok()) TF_GetInput(context, 1, &w.tensor, status.status);
  if (status.ok() && scaled) TF_GetInput(context, 2, &scale.tensor, status.status);
  if (!status.ok() || !Check(x, w, scaled ? &scale : nullptr, status.status)) return TF_OpKernelContext_Failure(context, status.status);
  const int64_t shape[] = {TF_Dim(x.tensor, 0), TF_Dim(w.tensor, 0)};
  Input y;
  y.tensor = TF_AllocateOutput(context, 0, TF_FLOAT, shape, 2, shape[0] * shape[1] * sizeof(float), status.status);
  if (!status.ok()) return TF_OpKernelContext_Failure(context, status.status);
  const TF_DataType type = TF_TensorType(w.tensor);
  Multiply({static_cast<const float *>(TF_TensorData(x.tensor)), x.dim(0), TF_TensorData(w.tensor),
            type == TF_FLOAT ? Type::kFloat32 : type == TF_BFLOAT16 ? Type::kBfloat16 : Type::kInt8, w.dim(0), w.dim(1),
            scaled ? static_cast<const float *>(TF_TensorData(scale.tensor)) : nullptr, static_cast<float *>(TF_TensorData(y.tensor))});
}

std::string RegisterOnce() {
  if (BestInstructions() == Instructions::kNone) return "";
  Status status;
  TF_OpDefinitionBuilder *const op = TF_NewOpDefinitionBuilder(kOp);
  TF_OpDefinitionBuilderAddAttr(op, "T: {float, bfloat16, int8}");
  TF_OpDefinitionBuilderAddAttr(op, "S: int >= 0");
  TF_OpDefinitionBuilderAddInput(op, "x: float");
  TF_OpDefinitionBuilderAddInput(op, "w: T");
  TF_OpDefinitionBuilderAddInput(op, "scale: S * float");
  TF_OpDefinitionBuilderAddOutput(op, "y: float");
  TF_OpDefinitionBuilderSetShapeInferenceFunction(op, InferShape);
  TF_RegisterOpDefinition(op, status.status);
  if (!status.ok()) return "";
  TF_RegisterKernelBuilder(kOp, TF_NewKernelBuilder(kOp, "CPU", nullptr, Compute, nullptr), status.status);
  if (!status.ok()) return "";
  const Instructions best = BestInstructions();
  return best == Instructions::kAvx512Bf16 ? "avx512_bf16" : best == Instructions::kAvx512 ? "avx512f" : "avx2";
}

}  // namespace

std::string RegisterOp() {
  static const std::string instructions = RegisterOnce();
  return instructions;
}
#else
std::string RegisterOp() { return ""; }
#endif

}  // namespace few_rows

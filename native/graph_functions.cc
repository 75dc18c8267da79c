// Adds to tfjs-node-gpu's addon what it lacks for compiled execution: TensorFlow functions in its eager context.
//
// The addon's own binding file is compiled as part of this one, unmodified, so that both share its instance data: napi_get_instance_data is
// per addon, and only there is the environment's TFJSBackend kept. Its context and tensor handles are private, hence the redefinition below
// (standard headers come first). After addFunction(name, …), the addon's own executeOp(name, [], inputIds, outputCount) runs the function.
#include <node_api.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#define private public
#include "tfjs_backend.h"
#undef private

#include "row_ops.h"

#undef NAPI_MODULE
#define NAPI_MODULE(name, init)  // The module's entry point is at the end of this file.
#include "tfjs_binding.cc"

namespace tfnodejs {
namespace {

using Graph = std::unique_ptr<TF_Graph, decltype(&TF_DeleteGraph)>;

Graph ImportGraph(const void *bytes, size_t length, TF_Status *status) {
  Graph graph(TF_NewGraph(), TF_DeleteGraph);
  const std::unique_ptr<TF_Buffer, decltype(&TF_DeleteBuffer)> def(TF_NewBufferFromString(bytes, length), TF_DeleteBuffer);
  const std::unique_ptr<TF_ImportGraphDefOptions, decltype(&TF_DeleteImportGraphDefOptions)> options(
      TF_NewImportGraphDefOptions(), TF_DeleteImportGraphDefOptions);
  TF_GraphImportGraphDef(graph.get(), def.get(), options.get(), status);
  return graph;
}

// The bytes of a Uint8Array; false for any other value.
bool GetBytes(napi_env env, napi_value value, void **bytes, size_t *length) {
  napi_typedarray_type type;
  return napi_get_typedarray_info(env, value, &type, length, bytes, nullptr, nullptr) == napi_ok && type == napi_uint8_array;
}

// Starts `execute` on libuv's pool for a `work` that has a deferred and an async work; returns their promise, which `complete` settles.
template <typename Work>
napi_value StartWork(napi_env env, const char *name, Work *work, napi_async_execute_callback execute, napi_async_complete_callback complete) {
  napi_value promise, resource;
  napi_create_promise(env, &work->deferred, &promise);
  napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &resource);
  napi_create_async_work(env, nullptr, resource, execute, complete, work, &work->work);
  napi_queue_async_work(env, work->work);
  return promise;
}

// Rejects a promise with an Error.
void Reject(napi_env env, napi_deferred deferred, const std::string &why) {
  napi_value message, error;
  napi_create_string_utf8(env, why.c_str(), NAPI_AUTO_LENGTH, &message);
  napi_create_error(env, nullptr, message, &error);
  napi_reject_deferred(env, deferred, error);
}

// "node:0,node:1" as outputs of the graph; throws a JavaScript error for a name that is not there.
bool FindOutputs(napi_env env, TF_Graph *graph, const std::string &list, std::vector<TF_Output> *outputs) {
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(',', begin), list.size());
    const size_t colon = list.rfind(':', end - 1);
    const std::string name = list.substr(begin, colon - begin);
    TF_Operation *operation = TF_GraphOperationByName(graph, name.c_str());
    if (operation == nullptr) {
      NAPI_THROW_ERROR(env, "addFunction: the graph has no node \"%s\"", name.c_str());
      return false;
    }
    outputs->push_back({operation, std::atoi(list.c_str() + colon + 1)});
    begin = end + 1;
  }
  return true;
}

// addFunction(name, graphDef: Uint8Array, inputs: "node:index,…", outputs: "node:index,…")
napi_value AddFunction(napi_env env, napi_callback_info info) {
  size_t argc = 4;
  napi_value args[4];
  ENSURE_NAPI_OK_RETVAL(env, napi_get_cb_info(env, info, &argc, args, nullptr, nullptr), nullptr);
  std::string name, input_list, output_list;
  void *bytes;
  size_t length;
  if (argc < 4 || GetStringParam(env, args[0], name) != napi_ok || !GetBytes(env, args[1], &bytes, &length) ||
      GetStringParam(env, args[2], input_list) != napi_ok || GetStringParam(env, args[3], output_list) != napi_ok) {
    napi_throw_type_error(env, nullptr, "addFunction: (name, Uint8Array, inputs, outputs) expected");
    return nullptr;
  }
  TFJSBackend *const backend = GetTFJSBackend(env);
  if (!backend) return nullptr;

  TF_AutoStatus status;
  const Graph graph = ImportGraph(bytes, length, status.status);
  ENSURE_TF_OK_RETVAL(env, status, nullptr);
  std::vector<TF_Output> inputs, outputs;
  if (!FindOutputs(env, graph.get(), input_list, &inputs) || !FindOutputs(env, graph.get(), output_list, &outputs)) return nullptr;
  TF_Function *const function =
      TF_GraphToFunction(graph.get(), name.c_str(), 0, -1, nullptr, static_cast<int>(inputs.size()), inputs.data(),
                         static_cast<int>(outputs.size()), outputs.data(), nullptr, nullptr, "", status.status);
  ENSURE_TF_OK_RETVAL(env, status, nullptr);
  TFE_ContextAddFunction(backend->tfe_context_, function, status.status);
  TF_DeleteFunction(function);
  ENSURE_TF_OK_RETVAL(env, status, nullptr);
  return nullptr;
}

// removeFunction(name)
napi_value RemoveFunction(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value args[1];
  ENSURE_NAPI_OK_RETVAL(env, napi_get_cb_info(env, info, &argc, args, nullptr, nullptr), nullptr);
  std::string name;
  if (argc < 1 || GetStringParam(env, args[0], name) != napi_ok) {
    napi_throw_type_error(env, nullptr, "removeFunction: (name) expected");
    return nullptr;
  }
  TFJSBackend *const backend = GetTFJSBackend(env);
  if (!backend) return nullptr;
  TF_AutoStatus status;
  TFE_ContextRemoveFunction(backend->tfe_context_, name.c_str(), status.status);
  ENSURE_TF_OK_RETVAL(env, status, nullptr);
  return nullptr;
}

// inferOutputs(graphDef: Uint8Array, node, outputCount): {dtype, shape}[], by TensorFlow's shape functions; nothing is computed.
napi_value InferOutputs(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value args[3];
  ENSURE_NAPI_OK_RETVAL(env, napi_get_cb_info(env, info, &argc, args, nullptr, nullptr), nullptr);
  void *bytes;
  size_t length;
  std::string node;
  uint32_t count;
  if (argc < 3 || !GetBytes(env, args[0], &bytes, &length) || GetStringParam(env, args[1], node) != napi_ok || napi_get_value_uint32(env, args[2], &count) != napi_ok) {
    napi_throw_type_error(env, nullptr, "inferOutputs: (Uint8Array, node, outputCount) expected");
    return nullptr;
  }
  TF_AutoStatus status;
  const Graph graph = ImportGraph(bytes, length, status.status);
  ENSURE_TF_OK_RETVAL(env, status, nullptr);
  TF_Operation *const operation = TF_GraphOperationByName(graph.get(), node.c_str());
  if (operation == nullptr || TF_OperationNumOutputs(operation) < static_cast<int>(count)) {
    NAPI_THROW_ERROR(env, "inferOutputs: no node \"%s\" with %u outputs", node.c_str(), count);
    return nullptr;
  }
  napi_value result;
  napi_create_array_with_length(env, count, &result);
  for (uint32_t i = 0; i < count; i++) {
    const TF_Output output = {operation, static_cast<int>(i)};
    std::vector<int64_t> dims(std::max(TF_GraphGetTensorNumDims(graph.get(), output, status.status), 0));
    TF_GraphGetTensorShape(graph.get(), output, dims.data(), static_cast<int>(dims.size()), status.status);
    const bool known = TF_GraphGetTensorNumDims(graph.get(), output, status.status) >= 0;
    napi_value metadata, shape, dtype;
    napi_create_object(env, &metadata);
    napi_create_array_with_length(env, dims.size(), &shape);
    for (uint32_t d = 0; d < dims.size(); d++) {
      napi_value dim;
      napi_create_int64(env, dims[d], &dim);
      napi_set_element(env, shape, d, dim);
    }
    if (!known) napi_get_null(env, &shape);
    napi_create_int32(env, TF_OperationOutputType(output), &dtype);
    napi_set_named_property(env, metadata, "shape", shape);
    napi_set_named_property(env, metadata, "dtype", dtype);
    napi_set_element(env, result, i, metadata);
  }
  return result;
}

// One call of a function on libuv's thread pool. The op holds references to its inputs, so they may be deleted meanwhile.
struct AsyncRun {
  TFJSBackend *backend;
  TFE_Op *op;
  napi_deferred deferred;
  napi_async_work work;
  std::vector<TFE_TensorHandle *> outputs;
  TF_AutoStatus status;

  ~AsyncRun() { TFE_DeleteOp(op); }
};

void ExecuteAsync(napi_env, void *data) {
  AsyncRun *const run = static_cast<AsyncRun *>(data);
  int count = static_cast<int>(run->outputs.size());
  TFE_Execute(run->op, run->outputs.data(), &count, run->status.status);
}

void CompleteAsync(napi_env env, napi_status, void *data) {
  const std::unique_ptr<AsyncRun> run(static_cast<AsyncRun *>(data));
  napi_delete_async_work(env, run->work);
  if (TF_GetCode(run->status.status) != TF_OK) {
    Reject(env, run->deferred, TF_Message(run->status.status));
    return;
  }
  napi_value infos;
  napi_create_array_with_length(env, run->outputs.size(), &infos);
  for (size_t i = 0; i < run->outputs.size(); i++) {
    napi_set_element(env, infos, static_cast<uint32_t>(i), run->backend->GenerateOutputTensorInfo(env, run->outputs[i]));
  }
  napi_resolve_deferred(env, run->deferred, infos);
}

// The op with its inputs, or null with a JavaScript error thrown.
TFE_Op *PrepareOp(napi_env env, TFJSBackend *backend, const std::string &name, napi_value ids) {
  TF_AutoStatus status;
  TFE_Op *const op = TFE_NewOp(backend->tfe_context_, name.c_str(), status.status);
  ENSURE_TF_OK_RETVAL(env, status, nullptr);
  uint32_t count = 0;
  napi_get_array_length(env, ids, &count);
  for (uint32_t i = 0; i < count; i++) {
    napi_value element;
    int32_t id = -1;
    napi_get_element(env, ids, i, &element);
    napi_get_value_int32(env, element, &id);
    const auto entry = backend->tfe_handle_map_.find(id);
    if (entry == backend->tfe_handle_map_.end()) {
      NAPI_THROW_ERROR(env, "runAsync: there is no tensor %d", id);
    } else {
      TFE_OpAddInput(op, entry->second, status.status);
      if (EnsureTFOK(env, status, __FILE__, __LINE__)) continue;
    }
    TFE_DeleteOp(op);
    return nullptr;
  }
  return op;
}

// runAsync(name, inputIds, outputCount): Promise of what executeOp returns.
napi_value RunAsync(napi_env env, napi_callback_info info) {
  size_t argc = 3;
  napi_value args[3];
  ENSURE_NAPI_OK_RETVAL(env, napi_get_cb_info(env, info, &argc, args, nullptr, nullptr), nullptr);
  std::string name;
  uint32_t count;
  bool is_array = false;
  if (argc < 3 || GetStringParam(env, args[0], name) != napi_ok || napi_is_array(env, args[1], &is_array) != napi_ok || !is_array ||
      napi_get_value_uint32(env, args[2], &count) != napi_ok) {
    napi_throw_type_error(env, nullptr, "runAsync: (name, inputIds, outputCount) expected");
    return nullptr;
  }
  TFJSBackend *const backend = GetTFJSBackend(env);
  if (!backend) return nullptr;
  TFE_Op *const op = PrepareOp(env, backend, name, args[1]);
  if (op == nullptr) return nullptr;
  AsyncRun *const run = new AsyncRun{backend, op, nullptr, nullptr, std::vector<TFE_TensorHandle *>(count, nullptr), {}};
  return StartWork(env, "tfjs-rft:runAsync", run, ExecuteAsync, CompleteAsync);
}

}  // namespace
}  // namespace tfnodejs

#include "collectives.h"  // reads its arguments with the functions above
#include "read_tensor.h"  // starts its work and rejects as the functions above do

NAPI_MODULE_INIT() {
  napi_value result = tfnodejs::InitTFNodeJSBinding(env, exports);
  napi_value row_op_instructions;
  napi_create_string_utf8(env, row_ops::RegisterRowOps().c_str(), NAPI_AUTO_LENGTH, &row_op_instructions);
  const napi_property_descriptor functions[] = {
      {"addFunction", nullptr, tfnodejs::AddFunction, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"removeFunction", nullptr, tfnodejs::RemoveFunction, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"inferOutputs", nullptr, tfnodejs::InferOutputs, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"runAsync", nullptr, tfnodejs::RunAsync, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"readTensor", nullptr, tfnodejs::ReadTensor, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"populateMapped", nullptr, tfnodejs::PopulateMapped, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"enableCollectives", nullptr, tfnodejs::EnableCollectives, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"abortCollectives", nullptr, tfnodejs::AbortCollectives, nullptr, nullptr, nullptr, napi_default, nullptr},
      {"rowOpInstructions", nullptr, nullptr, nullptr, nullptr, row_op_instructions, napi_enumerable, nullptr},
  };
  napi_define_properties(env, exports, sizeof(functions) / sizeof(functions[0]), functions);
  return result;
}

// Makes the addon's eager context one of a cluster: collective ops then reach the other processes through TensorFlow's gRPC runtime.
//
// Part of graph_functions.cc, which opens TFJSBackend's private members. Enabling replaces the context's devices (their names get the job and the
// task), so it comes before the first tensor, and the device that ops are placed on is looked up again.
#pragma once
#include <cstring>
#include <string>

#include "tensorflow/c/c_api_experimental.h"

namespace tfnodejs {
namespace {

// The context's first GPU, else its CPU, as TFJSBackend's constructor chooses; empty where listing fails.
std::string ChooseDevice(TFE_Context *context, TF_Status *status) {
  std::string device;
  TF_DeviceList *const list = TFE_ContextListDevices(context, status);
  if (TF_GetCode(status) != TF_OK) return device;
  for (int i = 0; i < TF_DeviceListCount(list); i++) {
    const std::string type = TF_DeviceListType(list, i, status);
    if (type == "GPU" || (type == "CPU" && device.empty())) device = TF_DeviceListName(list, i, status);
    if (type == "GPU") break;
  }
  TF_DeleteDeviceList(list);
  return device;
}

// enableCollectives(serverDef: Uint8Array): a tensorflow.ServerDef; starts this task's gRPC server.
napi_value EnableCollectives(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value args[1];
  ENSURE_NAPI_OK_RETVAL(env, napi_get_cb_info(env, info, &argc, args, nullptr, nullptr), nullptr);
  void *bytes;
  size_t length;
  if (argc < 1 || !GetBytes(env, args[0], &bytes, &length)) {
    napi_throw_type_error(env, nullptr, "enableCollectives: (Uint8Array) expected");
    return nullptr;
  }
  TFJSBackend *const backend = GetTFJSBackend(env);
  if (!backend) return nullptr;
  if (!backend->tfe_handle_map_.empty()) {
    napi_throw_error(env, nullptr, "enableCollectives: there are tensors already; call it before the first one");
    return nullptr;
  }
  TF_AutoStatus status;
  TFE_EnableCollectiveOps(backend->tfe_context_, bytes, length, status.status);
  ENSURE_TF_OK_RETVAL(env, status, nullptr);
  const std::string device = ChooseDevice(backend->tfe_context_, status.status);
  ENSURE_TF_OK_RETVAL(env, status, nullptr);
  backend->device_name = device;
  return nullptr;
}

// abortCollectives(reason): ends those under way, and all later ones, with an error.
napi_value AbortCollectives(napi_env env, napi_callback_info info) {
  size_t argc = 1;
  napi_value args[1];
  ENSURE_NAPI_OK_RETVAL(env, napi_get_cb_info(env, info, &argc, args, nullptr, nullptr), nullptr);
  std::string reason;
  if (argc < 1 || GetStringParam(env, args[0], reason) != napi_ok) {
    napi_throw_type_error(env, nullptr, "abortCollectives: (reason) expected");
    return nullptr;
  }
  TFJSBackend *const backend = GetTFJSBackend(env);
  if (!backend) return nullptr;
  TF_AutoStatus status;
  TF_SetStatus(status.status, TF_UNAVAILABLE, reason.c_str());
  TFE_AbortCollectiveOps(backend->tfe_context_, status.status);
  return nullptr;
}

}  // namespace
}  // namespace tfnodejs

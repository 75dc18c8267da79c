// Points one file descriptor at another and back, so that stderr can be read while libtensorflow loads.
//
// libtensorflow writes two notices to stderr from its static initialisers, before any log level of its own counts
// (they are printed with TF_CPP_MIN_LOG_LEVEL=3 as well). JavaScript has no dup2(), and closing and reopening
// descriptor 2 would race with the thread pool. This addon links nothing, so it can be loaded before TensorFlow.
#include <node_api.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace {

bool ReadFds(napi_env env, napi_callback_info info, int32_t* first, int32_t* second) {
  size_t argc = 2;
  napi_value args[2];
  if (napi_get_cb_info(env, info, &argc, args, nullptr, nullptr) == napi_ok && argc == 2 &&
      napi_get_value_int32(env, args[0], first) == napi_ok && napi_get_value_int32(env, args[1], second) == napi_ok) {
    return true;
  }
  napi_throw_type_error(env, nullptr, "redirect_fd: two file descriptors expected");
  return false;
}

// redirect(fd, onto): writes to `fd` go to `onto` from now on. Returns a copy of what `fd` was.
napi_value Redirect(napi_env env, napi_callback_info info) {
  int32_t fd, onto;
  if (!ReadFds(env, info, &fd, &onto)) return nullptr;
  const int saved = dup(fd);
  if (saved < 0 || dup2(onto, fd) < 0) {
    napi_throw_error(env, nullptr, std::strerror(errno));
    return nullptr;
  }
  napi_value result;
  napi_create_int32(env, saved, &result);
  return result;
}

// restore(fd, saved): makes `fd` again what redirect() found, and closes the copy.
napi_value Restore(napi_env env, napi_callback_info info) {
  int32_t fd, saved;
  if (!ReadFds(env, info, &fd, &saved)) return nullptr;
  if (dup2(saved, fd) < 0) napi_throw_error(env, nullptr, std::strerror(errno));
  close(saved);
  return nullptr;
}

void Export(napi_env env, napi_value exports, const char* name, napi_callback callback) {
  napi_value function;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, callback, nullptr, &function);
  napi_set_named_property(env, exports, name, function);
}

napi_value Init(napi_env env, napi_value exports) {
  Export(env, exports, "redirect", Redirect);
  Export(env, exports, "restore", Restore);
  return exports;
}

}  // namespace

NAPI_MODULE(NODE_GYP_MODULE_NAME, Init)

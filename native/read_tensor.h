// Tensors of a file, on libuv's thread pool: mapped where the bytes lie as TensorFlow needs them, else read straight to where they stay.
//
// Part of graph_functions.cc. A fresh page costs more to have (2 µs on the virtual machines measured) than to copy; a mapped file's pages are there.
// The mapping is private: what is written to such a tensor is never in the file. As with every mapped checkpoint (safetensors' own reader maps too),
// a file must not be cut short while a model has it; one that is replaced by renaming another over it, as this library writes, is not.
#pragma once
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace tfnodejs {
namespace {

// TensorFlow's Allocator::kAllocatorAlignment.
constexpr uint64_t kTensorAlignment = 64;
// Smaller tensors are read: a mapping is one more of the 65,530 that Linux allows a process.
constexpr size_t kLeastMapped = 1 << 20;

// What ExecuteRead was asked for and what it found.
struct FileRead {
  TFJSBackend *backend;
  std::string path;
  uint64_t offset;
  TF_DataType dtype;
  std::vector<int64_t> shape;
  size_t length;
  napi_deferred deferred;
  napi_async_work work;
  TF_Tensor *tensor = nullptr;
  std::string error;

  ~FileRead() {
    if (tensor) TF_DeleteTensor(tensor);
  }
};

// An open file, closed at the end of its scope.
class OpenFile {
 public:
  explicit OpenFile(const std::string &path) : fd_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~OpenFile() {
    if (fd_ >= 0) close(fd_);
  }
  OpenFile(const OpenFile &) = delete;
  OpenFile &operator=(const OpenFile &) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

// Pages of a file.
struct Mapping {
  void *start;
  size_t length;
};

void Unmap(void *, size_t, void *mapping) {
  const std::unique_ptr<Mapping> owned(static_cast<Mapping *>(mapping));
  munmap(owned->start, owned->length);
}

// The tensor on the file's own pages; null where they can't be had so, or lie past the file's end (touching them would be a SIGBUS).
TF_Tensor *MapTensor(int fd, const FileRead &read) {
  if (read.offset % kTensorAlignment != 0 || read.length < kLeastMapped) return nullptr;
  struct stat file;
  if (fstat(fd, &file) != 0 || static_cast<uint64_t>(file.st_size) < read.offset + read.length) return nullptr;
  const uint64_t page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t before = read.offset % page;
  const size_t length = read.length + before;
  void *const start = mmap(nullptr, length, PROT_READ, MAP_PRIVATE, fd, static_cast<off_t>(read.offset - before));
  if (start == MAP_FAILED) return nullptr;
  madvise(start, length, MADV_WILLNEED);
#ifdef MADV_POPULATE_READ
  // Before pages may be written to: populating such pages copies them. Older kernels refuse, and each page comes when it is touched.
  madvise(start, length, MADV_POPULATE_READ);
#endif
  if (mprotect(start, length, PROT_READ | PROT_WRITE) != 0) {
    munmap(start, length);
    return nullptr;
  }
  return TF_NewTensor(read.dtype, read.shape.data(), static_cast<int>(read.shape.size()), static_cast<char *>(start) + before, read.length, Unmap,
                      new Mapping{start, length});
}

// A tensor of its own memory, filled from the file; null and `error` where that fails.
TF_Tensor *CopyTensor(int fd, const FileRead &read, std::string *error) {
  TF_Tensor *const tensor = TF_AllocateTensor(read.dtype, read.shape.data(), static_cast<int>(read.shape.size()), read.length);
  if (tensor == nullptr || TF_TensorByteSize(tensor) != read.length) {
    *error = "no memory for " + std::to_string(read.length) + " bytes";
    return tensor;
  }
  char *const to = static_cast<char *>(TF_TensorData(tensor));
  size_t done = 0;
  errno = 0;
  while (done < read.length) {
    const ssize_t count = pread(fd, to + done, std::min<size_t>(read.length - done, 1 << 26), static_cast<off_t>(read.offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    done += static_cast<size_t>(count);
  }
  if (done < read.length) *error = errno == 0 ? "the file ends early" : std::strerror(errno);
  return tensor;
}

void ExecuteRead(napi_env, void *data) {
  FileRead *const read = static_cast<FileRead *>(data);
  const OpenFile file(read->path);
  if (file.fd() < 0) {
    read->error = std::strerror(errno);
    return;
  }
  read->tensor = MapTensor(file.fd(), *read);
  if (read->tensor == nullptr) read->tensor = CopyTensor(file.fd(), *read, &read->error);
}

void CompleteRead(napi_env env, napi_status, void *data) {
  const std::unique_ptr<FileRead> read(static_cast<FileRead *>(data));
  napi_delete_async_work(env, read->work);
  TF_AutoStatus status;
  TFE_TensorHandle *handle = nullptr;
  if (read->error.empty()) {
    handle = TFE_NewTensorHandle(read->tensor, status.status);
    if (TF_GetCode(status.status) != TF_OK) read->error = TF_Message(status.status);
  }
  if (!read->error.empty()) return Reject(env, read->deferred, read->path + ": " + read->error);
  napi_resolve_deferred(env, read->deferred, read->backend->GenerateOutputTensorInfo(env, handle));
}

// readTensor(path, offset, length, dtype, shape): Promise of {id, dtype, shape}
napi_value ReadTensor(napi_env env, napi_callback_info info) {
  size_t argc = 5;
  napi_value args[5];
  ENSURE_NAPI_OK_RETVAL(env, napi_get_cb_info(env, info, &argc, args, nullptr, nullptr), nullptr);
  std::string path;
  int64_t offset, length;
  int32_t dtype;
  uint32_t rank = 0;
  if (argc < 5 || GetStringParam(env, args[0], path) != napi_ok || napi_get_value_int64(env, args[1], &offset) != napi_ok ||
      napi_get_value_int64(env, args[2], &length) != napi_ok || napi_get_value_int32(env, args[3], &dtype) != napi_ok ||
      napi_get_array_length(env, args[4], &rank) != napi_ok) {
    napi_throw_type_error(env, nullptr, "readTensor: (path, offset, length, dtype, shape) expected");
    return nullptr;
  }
  TFJSBackend *const backend = GetTFJSBackend(env);
  if (!backend) return nullptr;
  std::vector<int64_t> shape(rank);
  for (uint32_t i = 0; i < rank; i++) {
    napi_value dim;
    napi_get_element(env, args[4], i, &dim);
    napi_get_value_int64(env, dim, &shape[i]);
  }
  FileRead *const read = new FileRead{backend,         path,    static_cast<uint64_t>(offset), static_cast<TF_DataType>(dtype), shape,
                                      static_cast<size_t>(length), nullptr, nullptr};
  return StartWork(env, "tfjs-rft:readTensor", read, ExecuteRead, CompleteRead);
}

}  // namespace
}  // namespace tfnodejs

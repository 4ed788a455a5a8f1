// The part of LiteRT's C API that the example uses. The wheel ai-edge-litert holds libLiteRt.so without headers;
// where you have LiteRT's own (litert/c/*.h of its repository), include those instead. Tested with LiteRT 2.1.6, 2.2
// and 2.3.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

typedef int LiteRtStatus;  // 0: success
typedef struct LiteRtEnvironmentT* LiteRtEnvironment;
typedef struct LiteRtModelT* LiteRtModel;
typedef struct LiteRtSignatureT* LiteRtSignature;
typedef struct LiteRtTensorT* LiteRtTensor;
typedef struct LiteRtOptionsT* LiteRtOptions;
typedef struct LiteRtCompiledModelT* LiteRtCompiledModel;
typedef struct LiteRtTensorBufferRequirementsT* LiteRtTensorBufferRequirements;
typedef struct LiteRtTensorBufferT* LiteRtTensorBuffer;

enum { kLiteRtHwAcceleratorCpu = 1 };
enum { kLiteRtElementTypeFloat32 = 1, kLiteRtElementTypeInt8 = 9 };
enum { kLiteRtTensorBufferLockModeRead = 0, kLiteRtTensorBufferLockModeWrite = 1 };
enum { kLiteRtAnyTypeInt = 2 };
enum { kLiteRtEnvOptionTagAutoRegisterAccelerators = 24, kLiteRtEnvOptionTagMinLoggerSeverity = 25 };

struct LiteRtEnvOption {
    int tag;
    struct {
        int type;
        int64_t int_value;
    } value;
};

struct LiteRtLayout {
    unsigned int rank : 7;
    unsigned int has_strides : 1;
    int32_t dimensions[8];
    uint32_t strides[8];
};

struct LiteRtRankedTensorType {
    int element_type;
    LiteRtLayout layout;
};

struct LiteRtQuantizationPerTensor {
    float scale;
    int64_t zero_point;
};

LiteRtStatus LiteRtCreateEnvironment(int count, const LiteRtEnvOption*, LiteRtEnvironment*);
void LiteRtDestroyEnvironment(LiteRtEnvironment);

LiteRtStatus LiteRtCreateModelFromFile(LiteRtEnvironment, const char* path, LiteRtModel*);
LiteRtStatus LiteRtGetModelMetadata(LiteRtModel, const char* key, const void** content, size_t* size);
LiteRtStatus LiteRtGetModelSignature(LiteRtModel, size_t index, LiteRtSignature*);
LiteRtStatus LiteRtGetSignatureInputTensorByIndex(LiteRtSignature, size_t index, LiteRtTensor*);
LiteRtStatus LiteRtGetSignatureOutputTensorByIndex(LiteRtSignature, size_t index, LiteRtTensor*);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor, LiteRtRankedTensorType*);
LiteRtStatus LiteRtGetPerTensorQuantization(LiteRtTensor, LiteRtQuantizationPerTensor*);
void LiteRtDestroyModel(LiteRtModel);

LiteRtStatus LiteRtCreateOptions(LiteRtOptions*);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions, int accelerators);
void LiteRtDestroyOptions(LiteRtOptions);

LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment, LiteRtModel, LiteRtOptions, LiteRtCompiledModel*);
LiteRtStatus LiteRtCompiledModelResizeInputTensorNonStrict(LiteRtCompiledModel, size_t signature, size_t input,
                                                           const int* dimensions, size_t count);
LiteRtStatus LiteRtGetCompiledModelOutputTensorLayouts(LiteRtCompiledModel, size_t signature, size_t count,
                                                       LiteRtLayout*, bool update);
LiteRtStatus LiteRtGetCompiledModelInputBufferRequirements(LiteRtCompiledModel, size_t signature, size_t input,
                                                           LiteRtTensorBufferRequirements*);
LiteRtStatus LiteRtGetCompiledModelOutputBufferRequirements(LiteRtCompiledModel, size_t signature, size_t output,
                                                            LiteRtTensorBufferRequirements*);
LiteRtStatus LiteRtRunCompiledModel(LiteRtCompiledModel, size_t signature, size_t inputs, LiteRtTensorBuffer*,
                                    size_t outputs, LiteRtTensorBuffer*);
void LiteRtDestroyCompiledModel(LiteRtCompiledModel);

LiteRtStatus LiteRtCreateManagedTensorBufferFromRequirements(LiteRtEnvironment, const LiteRtRankedTensorType*,
                                                             LiteRtTensorBufferRequirements, LiteRtTensorBuffer*);
LiteRtStatus LiteRtLockTensorBuffer(LiteRtTensorBuffer, void** memory, int mode);
LiteRtStatus LiteRtUnlockTensorBuffer(LiteRtTensorBuffer);
void LiteRtDestroyTensorBuffer(LiteRtTensorBuffer);

}  // extern "C"

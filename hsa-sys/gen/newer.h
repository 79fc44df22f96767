/* Functions of ROCr releases newer than the headers that the bindings are made
 * from. The library is asked for them when it is loaded; an older one lacks
 * them. Declarations only: name, types and values as ROCm publishes them.
 */
#ifndef HSA_SYS_GEN_NEWER_H
#define HSA_SYS_GEN_NEWER_H

#include "hsa.h"

/* ROCm 6.1 and later. */
typedef enum {
  HSA_AMD_QUEUE_INFO_AGENT = 0,
  HSA_AMD_QUEUE_INFO_DOORBELL_ID = 1
} hsa_queue_info_attribute_t;

hsa_status_t HSA_API hsa_amd_queue_get_info(hsa_queue_t* queue,
                                            hsa_queue_info_attribute_t attribute,
                                            void* value);

/* ROCm 6.1 and later. */
hsa_status_t HSA_API hsa_amd_agent_set_async_scratch_limit(hsa_agent_t agent,
                                                           size_t threshold);

#endif

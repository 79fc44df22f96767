// Source of hidden_v5.co: a kernel that copies version 5's 256 bytes of hidden arguments.
kernel __attribute__((reqd_work_group_size(8, 4, 2)))
void hidden_v5(global ulong *restrict out, global const uint *restrict in, double x) {
    constant ulong *hidden = (constant ulong *)__builtin_amdgcn_implicitarg_ptr();
    for (int i = 0; i < 32; i++)
        out[i] = hidden[i];
}

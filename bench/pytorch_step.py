"""Times whole PyTorch training steps as ../../shared/anchors/train_step.py does, with what a current PyTorch can do besides, and
at any model's shape; prints one JSON line. bench/contenders.ts runs it where an interpreter with torch is given; no part of
building, testing or using the package.

    python pytorch_step.py --anchors ../../shared/anchors --shape '{"vocab": 2048, ...}' --mode bitnet_bf16 --compile
--compile           torch.compile (inductor) of the model, static shapes
--attention sdpa    scaled_dot_product_attention in place of the program's own (flash attention on a CPU)
--lean              quantisers outside autograd (same mathematics, less kept); under bfloat16 what is kept is bfloat16
--fused             AdamW's fused CPU kernel
--check             first holds the loss to the unchanged program's (eager, float32)
"""
import argparse, json, math, os, resource, statistics, sys, time
ap = argparse.ArgumentParser(); ap.add_argument('--anchors', required=True); ap.add_argument('--shape', required=True)
ap.add_argument('--mode', default='bitnet', choices=['bitnet', 'bitnet_bf16', 'full', 'full_bf16']); ap.add_argument('--batch', type=int, default=32)
ap.add_argument('--seq', type=int, default=0); ap.add_argument('--threads', type=int, default=2); ap.add_argument('--steps', type=int, default=3); ap.add_argument('--warm', type=int, default=1)
ap.add_argument('--compile', action='store_true'); ap.add_argument('--attention', default='own', choices=['own', 'sdpa']); ap.add_argument('--lean', action='store_true')
ap.add_argument('--fused', action='store_true'); ap.add_argument('--check', action='store_true')
a = ap.parse_args()
os.environ.setdefault('OPENBLAS_NUM_THREADS', str(a.threads)); os.environ.setdefault('OMP_NUM_THREADS', str(a.threads))
sys.path.insert(0, a.anchors)
import torch, torch.nn.functional as F
torch.set_num_threads(a.threads)
import bitnet_ref
from bitnet_ref import BitNet, Cfg
bit = a.mode.startswith('bitnet'); shape = json.loads(a.shape)
c = Cfg(**shape, quant=bit, bl=False, subln=bit, lean=a.lean); T = a.seq or c.seq
torch.manual_seed(1); plain = BitNet(c)
tok = torch.randint(0, c.vocab, (a.batch, T + 1)); x, y = tok[:, :-1].contiguous(), tok[:, 1:].contiguous()
if a.check:
    with torch.no_grad(): expected = plain(x, y)[1].item()
if a.attention == 'sdpa':
    def sdpa(q, k, v):
        r = q.shape[1] // k.shape[1]
        return F.scaled_dot_product_attention(q, k.repeat_interleave(r, 1), v.repeat_interleave(r, 1), is_causal=True)
    bitnet_ref.attention = sdpa
if a.lean and a.mode.endswith('bf16'):
    class Lean(torch.autograd.Function):  # the program's LeanBit with operands kept in bfloat16, as autocast would cast them
        @staticmethod
        def forward(ctx, x, w, eps, mode):
            xd = bitnet_ref.act_quant(x.float(), eps)[1].bfloat16(); wd = bitnet_ref.weight_quant(w, eps, mode)[1].bfloat16()
            ctx.save_for_backward(xd, wd)
            return F.linear(xd, wd)
        @staticmethod
        def backward(ctx, g):
            xd, wd = ctx.saved_tensors; g = g.bfloat16()
            return g @ wd, (g.reshape(-1, g.shape[-1]).t() @ xd.reshape(-1, xd.shape[-1])).float(), None, None
    bitnet_ref.LeanBit = Lean
model = torch.compile(plain, dynamic=False) if a.compile else plain
P = list(plain.parameters()); mats = [p for p in P if p.dim() >= 2]; vecs = [p for p in P if p.dim() < 2]
opt = torch.optim.AdamW([dict(params=mats, weight_decay=0.1), dict(params=vecs, weight_decay=0.0)], lr=1.5e-3, betas=(0.9, 0.95), eps=1e-8, **(dict(fused=True) if a.fused else {}))
def step():
    t0 = time.perf_counter()
    if a.mode.endswith('bf16'):
        with torch.autocast('cpu', dtype=torch.bfloat16): _, loss = model(x, y)
    else: _, loss = model(x, y)
    loss.backward(); torch.nn.utils.clip_grad_norm_(P, 1.0); opt.step(); opt.zero_grad(set_to_none=True)
    return time.perf_counter() - t0, loss.item()
first = step()[1]
if a.check and not abs(first / expected - 1) < 0.01: sys.exit(f'the first loss is {first}, that of the unchanged program {expected}')
if not abs(first / math.log(c.vocab) - 1) < 0.02: sys.exit(f'the first loss is {first}, expected {math.log(c.vocab)}')
for _ in range(a.warm - 1): step()
times = [step()[0] for _ in range(a.steps)]; tokens = a.batch * T
print(json.dumps(dict(mode=a.mode, torch=torch.__version__, threads=a.threads, params=sum(p.numel() for p in P), tokens_per_step=tokens,
    tokens_per_sec=round(tokens / statistics.median(times), 1), best_tokens_per_sec=round(tokens / min(times), 1),
    peak_rss_mib=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))))

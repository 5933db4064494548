-- The gated delta rule. A head's state S [key_dim, value_dim] maps keys to values; token t, with key k,
-- query q (both of length 1, q scaled), value v, decay exp(g) and strength beta, forgets, corrects and asks:
--   S <- exp(g) S      u = beta (v - S^T k)      S <- S + k u^T      o = S^T q
-- Both forms below advance l.state [heads, key_dim, value_dim] over tokens first .. last - 1 of `at` and fill
-- `out` [tokens, heads, value_dim]. The same operations in the same order give the same bits.
local exp, log, sqrt = math.exp, math.log, math.sqrt

local M = {}

M.CHUNK = 64 -- tokens of a chunk, at most

-- A token's row of y is q, k, v of all heads: scale one head's q or k to length `length`.
local function normalise(y, base, n, length)
  local sum = 0
  for i = 0, n - 1 do sum = sum + y[base + i] * y[base + i] end
  local scale = length / sqrt(sum + 1e-6)
  for i = 0, n - 1 do y[base + i] = y[base + i] * scale end
end

--- What depends on a token alone, for n tokens of the batch: lengths of q and k, and from the inputs
--- a, b [tokens, heads] the log decay g = -exp(a_log) softplus(a + dt_bias) and beta = sigmoid(b).
function M.gates(l, a, b, n)
  local heads, dk, y, g, beta = l.heads, l.key_dim, l.y, l.g, l.beta
  local scale = 1 / sqrt(dk)
  for t = 0, n - 1 do
    for h = 0, heads - 1 do
      local q, i = t * l.channels + h * dk, t * heads + h
      normalise(y, q, dk, scale)
      normalise(y, q + heads * dk, dk, 1)
      g[i] = -exp(l.a_log[h]) * log(1 + exp(a[i] + l.dt_bias[h]))
      beta[i] = 1 / (1 + exp(-b[i]))
    end
  end
end

-- Where in y a token's q, k and v of a head begin.
local function places(l, t, h)
  local q = t * l.channels + h * l.key_dim
  local k = q + l.heads * l.key_dim
  return q, k, t * l.channels + 2 * l.heads * l.key_dim + h * l.value_dim
end

local function recurrent_token(l, t, h, out)
  local dk, dv, y, S = l.key_dim, l.value_dim, l.y, l.state
  local q, k, v = places(l, t, h)
  local decay, beta, s, o = exp(l.g[t * l.heads + h]), l.beta[t * l.heads + h], h * dk * dv,
    (t * l.heads + h) * dv
  for j = 0, dv - 1 do
    local kept, asked = 0, 0
    for i = 0, dk - 1 do
      S[s + i * dv + j] = decay * S[s + i * dv + j]
      kept = kept + S[s + i * dv + j] * y[k + i]
    end
    local u = beta * (y[v + j] - kept)
    for i = 0, dk - 1 do
      S[s + i * dv + j] = S[s + i * dv + j] + y[k + i] * u
      asked = asked + S[s + i * dv + j] * y[q + i]
    end
    out[o + j] = asked
  end
end

--- Token by token.
function M.recurrent(l, at, first, last, out)
  for n = first, last - 1 do
    for h = 0, l.heads - 1 do recurrent_token(l, at[n], h, out) end
  end
end

local function dot(y, a, b, n)
  local sum = 0
  for i = 0, n - 1 do sum = sum + y[a + i] * y[b + i] end
  return sum
end

-- With G_t the sum of g up to token t of the chunk and S the state that the chunk enters with:
--   u_t = beta_t (v_t - exp(G_t) S^T k_t - sum over j < t of exp(G_t - G_j) (k_t . k_j) u_j)
--   o_t = exp(G_t) S^T q_t + sum over j <= t of exp(G_t - G_j) (q_t . k_j) u_j
--   S  <- exp(G_last) S + sum over j of exp(G_last - G_j) k_j u_j^T
-- Token t of the chunk asks for what `place` (q or k) maps to, less the u_j of j >= before.
local function ask(l, at, first, h, t, place, before, j)
  local dk, dv, y, S, s = l.key_dim, l.value_dim, l.y, l.state, h * l.key_dim * l.value_dim
  local u, G, sum = l.u, l.G, 0
  for i = 0, dk - 1 do sum = sum + S[s + i * dv + j] * y[place + i] end
  sum = exp(G[t]) * sum
  for earlier = 0, before - 1 do
    local _, k = places(l, at[first + earlier], h)
    sum = sum + exp(G[t] - G[earlier]) * dot(y, place, k, dk) * u[earlier * dv + j]
  end
  return sum
end

local function leave(l, at, first, n, h)
  local dk, dv, y, S, s = l.key_dim, l.value_dim, l.y, l.state, h * l.key_dim * l.value_dim
  local u, G = l.u, l.G
  for i = 0, dk - 1 do
    for j = 0, dv - 1 do
      local sum = exp(G[n - 1]) * S[s + i * dv + j]
      for t = 0, n - 1 do
        local _, k = places(l, at[first + t], h)
        sum = sum + exp(G[n - 1] - G[t]) * y[k + i] * u[t * dv + j]
      end
      S[s + i * dv + j] = sum
    end
  end
end

--- The whole chunk from the state that it enters with, as the prefill kernels do: at most CHUNK tokens.
function M.chunked(l, at, first, last, out)
  local heads, dv, y, u, G, n = l.heads, l.value_dim, l.y, l.u, l.G, last - first
  for h = 0, heads - 1 do
    local decay = 0
    for t = 0, n - 1 do
      local i = at[first + t] * heads + h
      local q, k, v = places(l, at[first + t], h)
      decay = decay + l.g[i]
      G[t] = decay
      for j = 0, dv - 1 do
        u[t * dv + j] = l.beta[i] * (y[v + j] - ask(l, at, first, h, t, k, t, j))
      end
      for j = 0, dv - 1 do out[i * dv + j] = ask(l, at, first, h, t, q, t + 1, j) end
    end
    leave(l, at, first, n, h)
  end
end

return M

# The protocol of sampler-drive with a network whose output is always zero, so that all input can be given at once.
call() { printf '%s' "$1" >case.json; }
call '{"cls":"DDIMScheduler","config":{"clip_sample":false},"steps":4,"set_timesteps":{},"step_kwargs":{},"seed":null}'
head -c 100 /dev/zero | sampler-drive case.json 5 >out # a start and four outputs of 5 numbers
printf '%s\n....................' 'call 750' 'call 500' 'call 250' 'call 0' 'done' >expected
tr '\0' '.' <out | cmp - expected

# Noise is drawn: two seeds give two results, the same seed the same.
for seed in 1 2 01; do
    call "{\"cls\":\"EulerAncestralDiscreteScheduler\",\"config\":{},\"steps\":2,\"seed\":${seed#0}}"
    head -c 60 /dev/zero | sampler-drive case.json 5 >"drawn$seed"
done
if cmp -s drawn1 drawn2; then exit 1; fi
cmp drawn1 drawn01
# Python's JSON may hold infinities.
call '{"cls":"DPMSolverMultistepScheduler","config":{"lambda_min_clipped":-Infinity},"steps":2}'
head -c 60 /dev/zero | sampler-drive case.json 5 | grep -a 'done' >out

refused() {
    local want=$1 code=0
    shift
    head -c 60 /dev/zero | sampler-drive "$@" >out 2>err || code=$?
    [ $code = "$want" ] && [ "$(wc -l <err)" = 1 ] || {
        echo "$*: exit $code instead of $want"
        cat err
        exit 1
    }
}
refused 2
refused 2 case.json
refused 2 case.json 5 6
for count in 0 -5 5x '' ' 5'; do refused 2 case.json "$count"; done
refused 1 nothing-here.json 5
refused 4 case.json 50 # the input ends early
for bad in '' '[]' '{' '{"cls":"DDIMScheduler","steps":4}' '{"cls":"DDIMScheduler","config":{}}' \
    '{"cls":"DDIMScheduler","config":{},"steps":0}' '{"cls":"DDIMScheduler","config":{},"steps":1001}' \
    '{"cls":"DDIMScheduler","config":{},"steps":"4"}' '{"cls":"Scheduler","config":{},"steps":4}' \
    '{"cls":"DDIMScheduler","config":{"beta_end":"x"},"steps":4}' '{"cls":"DDIMScheduler","config":{},"steps":4,"seed":-1}' \
    '{"cls":"DDIMScheduler","config":{},"steps":4,"step_kwargs":{"eta":2}}' \
    '{"cls":"FlowMatchEulerDiscreteScheduler","config":{},"steps":2,"set_timesteps":{"sigmas":[1]}}' \
    '{"cls":"FlowMatchEulerDiscreteScheduler","config":{},"steps":1,"set_timesteps":{"sigmas":["a"]}}'; do
    call "$bad"
    refused 4 case.json 5
done

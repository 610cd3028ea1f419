# Directories that import refuses, by name, and models that export cannot write. Nothing is left behind.
tiny=$TESTDATA/tiny
weights=diffusion_pytorch_model.safetensors

# refused CODE TEXT COMMAND...
refused() {
    local want=$1 text=$2 code=0
    shift 2
    "$@" >out 2>err </dev/null || code=$?
    if [ $code != "$want" ] || ! tail -n 1 err | grep -q -e "^${1##*/}: .*$text" || [ -e x ]; then
        echo "$*: exit $code, expected $want: $text"
        cat err
        exit 1
    fi
}
fresh() {
    rm -rf case
    cp -r "$tiny/$1" case
    chmod -R u+w case
}

# Tensors: names of the same length are changed in the header of the file.
fresh unet
sed -i 's/"conv_in.bias"/"conv_in.bixs"/; s/"class_embedding.weight"/"class_embedding.weighs"/' case/$weights
refused 4 'case/.*config.json: denoiser.class_embedding.weight is missing, \[3, 32\] is expected; denoiser.conv_in.bias is missing' \
    import case -o x
grep -q 'denoiser.conv_in.bixs' err # what is not used is listed too
fresh unet
sed -i 's/"block_out_channels": \[/&16, /' case/config.json
refused 4 'do not fit 3 block_out_channels' import case -o x
fresh unet
sed -i 's/"norm_num_groups": 4/"norm_num_groups": 5/' case/config.json
refused 4 "node 'down_blocks.0.resnets.0.norm1' .*8 channels do not divide into 5 groups" import case -o x
fresh dit
rm case/transformer/diffusion_pytorch_model-00002-of-00002.safetensors
refused 1 'diffusion_pytorch_model-00002-of-00002.safetensors.*No such file' import case -o x
fresh dit
sed -i 's/diffusion_pytorch_model-00002-of-00002.safetensors/..\/golden.safetensors/' case/transformer/$weights.index.json
refused 4 'names no file of this folder' import case -o x
fresh vae
sed -i 's/"decoder.conv_out.bias"/"decoder.conv_out.bixs"/' case/$weights
refused 4 'decoder.decoder.conv_out.bias is missing' import case -o x

# Files.
fresh unet
rm case/$weights
refused 1 'there is no diffusion_pytorch_model.safetensors' import case -o x
echo pickle >case/diffusion_pytorch_model.bin
refused 4 'diffusion_pytorch_model.bin: the weights are pickled' import case -o x
fresh unet
echo '{' >case/config.json
refused 4 'config.json' import case -o x
fresh unet
rm case/config.json
refused 1 'config.json' import case -o x
refused 1 'neither model_index.json nor config.json' import "$tiny" -o x
refused 2 'needs --graph' import "$tiny/vae/$weights" -o x

# Configs.
fresh resample
sed -i 's/^{/{"quantization_config": {"quant_method": "bitsandbytes"},/' case/config.json
refused 4 'quantization_config' import case -o x
fresh resample
sed -i 's/"UNet2DModel"/"UNet3DConditionModel"/' case/config.json
refused 4 "the class 'UNet3DConditionModel' is not known" import case -o x
fresh dit
sed -i 's/^{/{"vqvae": ["diffusers", "VQModel"],/' case/model_index.json
refused 4 "the component 'vqvae' (VQModel) is not supported" import case -o x
fresh dit
sed -i 's/^{/{"unet": ["diffusers", "DiTTransformer2DModel"],/' case/model_index.json
cp -r case/transformer case/unet
refused 4 'the pipeline has a second denoiser' import case -o x
fresh dit
sed -i 's/^{/{"vae": ["diffusers", "AutoencoderKL"], "safety_checker": [null, null],/' case/model_index.json
cp -r "$tiny/vae" case/vae
import case -q -o both.zst >/dev/null
generate both.zst -q --steps 2 -o picture.png
chmod -R u+w case
cp "$tiny/resample/config.json" case/vae/config.json
refused 4 'vae/config.json: a UNet2DModel does not belong here' import case -o x

# Values that a narrower type cannot hold: one weight of a thousand million, made in place of the first bytes of the data.
fresh unet
header=$(od -An -tu8 -N8 case/$weights | tr -d ' ')
printf '\050\153\156\116' | dd of=case/$weights bs=1 seek=$((8 + header)) conv=notrunc 2>/dev/null
refused 4 'has the value 1e+09, which F16 cannot hold' import case --dtype f16 -o x
import case -q --dtype bf16 -o wide.zst >/dev/null

# What export cannot write.
import "$tiny/dit" -q -o dit.zst >/dev/null
prune dit.zst -q --remove 'transformer_blocks.1.attn1*' -o pruned.zst >/dev/null
refused 4 "'transformer_blocks.1.norm1.shift_msa' was left out of the denoiser, and a Transformer2DModel cannot express that" \
    "$BIN/export" pruned.zst -o x
refused 2 'give -o DIR' "$BIN/export" dit.zst
refused 1 "'no/x': No such file" "$BIN/export" dit.zst -o no/x
echo file >y
refused 1 "cannot make the folder 'y'" "$BIN/export" dit.zst -o y
printf '{"components": {"denoiser": {"inputs": [{"name": "sample", "kind": "image", "channels": 2, "height": 4, "width": 4}],
"nodes": [{"name": "conv", "op": "conv2d", "in": ["sample"], "weights": {"weight": "post_quant_conv.weight"}}],
"outputs": {"sample": "conv"}}}, "image": {"channels": 2, "height": 4, "width": 4}}' >graph.json
import "$tiny/vae/$weights" --graph graph.json -q -o graph.zst >/dev/null
refused 4 'does not come from a diffusers directory' "$BIN/export" graph.zst -o x
